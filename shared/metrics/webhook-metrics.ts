/** Metrics of webhooks. All but the outbox are those of the worker that delivers; its successor begins at 0. */
import type { Metric } from "./metric.ts";

export const WEBHOOK_METRICS = {
  "worker.webhooks.delivered": {
    scope: "worker",
    kind: "counter",
    unit: "events",
    meaning: "events that receivers of webhooks have accepted, by receiver",
    tag: "receiver",
  },
  "worker.webhooks.failed": {
    scope: "worker",
    kind: "counter",
    unit: "requests",
    meaning: "attempts to deliver an event that failed and are repeated, by cause",
    tag: "cause",
  },
  "worker.webhooks.lost": {
    scope: "worker",
    kind: "counter",
    unit: "events",
    meaning:
      "events that receivers do not get, by cause: the store was away or full for too long, refused them, or the receiver was away; receivers are told",
    tag: "cause",
    values: ["store away", "store full", "store refused", "receiver away", "unreadable"],
  },
  "worker.webhooks.refused": {
    scope: "worker",
    kind: "counter",
    unit: "requests",
    meaning:
      "attempts to store events that the store refused, which the log explains; they are repeated, and sessions go on",
  },
  "worker.webhooks.pending": {
    scope: "worker",
    kind: "gauge",
    unit: "events",
    meaning: "events of this worker that are not in the store yet",
  },
  "worker.webhooks.backlog": {
    scope: "worker",
    kind: "gauge",
    unit: "events",
    meaning: "events in the store that a receiver does not have yet, by receiver",
    tag: "receiver",
  },
  "worker.webhooks.oldest_ms": {
    scope: "worker",
    kind: "gauge",
    unit: "ms",
    meaning:
      "age of the oldest event that a receiver does not have yet, by receiver; 0 without one",
    tag: "receiver",
  },
} as const satisfies Record<string, Metric>;
