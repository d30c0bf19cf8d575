/** Metrics of WebSockets that stay open while their session moves to another worker. */
import type { Metric } from "./metric.ts";

const CAUSES = ["crash", "move"] as const;

export const RESUME_METRICS = {
  // --- balancer ---
  "balancer.resume.waiting": {
    scope: "balancer",
    kind: "gauge",
    unit: "connections",
    meaning: "open WebSockets that wait for another worker to go on with them",
  },
  "balancer.resume.done": {
    scope: "balancer",
    kind: "counter",
    unit: "connections",
    meaning:
      "open WebSockets that another worker went on with, by cause: `move` (its worker gave the session away), `crash` (it had gone, or had lost the session)",
    tag: "cause",
    values: CAUSES,
  },
  "balancer.resume.closed": {
    scope: "balancer",
    kind: "counter",
    unit: "connections",
    meaning:
      "closed WebSockets, because no worker could go on with them, by reason; their clients reconnect",
    tag: "reason",
  },
  "balancer.resume.gap_ms": {
    scope: "balancer",
    kind: "histogram",
    unit: "ms",
    meaning: "for resumed WebSockets: from the loss of one worker until the next one went on",
  },
  "balancer.resume.messages": {
    scope: "balancer",
    kind: "counter",
    unit: "messages",
    meaning: "messages of clients that were sent again to the next worker",
  },
  "balancer.resume.repeats": {
    scope: "balancer",
    kind: "counter",
    unit: "messages",
    meaning: "messages that were dropped because their receivers had got them before a crash",
  },

  // --- worker ---
  "worker.resume.websockets": {
    scope: "worker",
    kind: "counter",
    unit: "connections",
    meaning: "open WebSockets that this worker went on with, by cause: `move` or `crash`",
    tag: "cause",
    values: CAUSES,
  },
  "worker.resume.refused": {
    scope: "worker",
    kind: "counter",
    unit: "connections",
    meaning:
      "open WebSockets that this worker refused to go on with, by reason; their clients reconnect",
    tag: "reason",
  },
  "worker.resume.given": {
    scope: "worker",
    kind: "counter",
    unit: "connections",
    meaning:
      "connections of sessions that were handed over: `open` (the WebSocket stayed open), or why the client has to reconnect",
    tag: "outcome",
  },
} satisfies Record<string, Metric>;
