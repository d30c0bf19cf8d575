/**
 * All metrics of the product, each declared once: its kind, unit, meaning, and the values of its tag. An undeclared name does
 * not compile; docs/metrics.md is generated from here. How a name appears in StatsD and in Prometheus: metric-names.ts.
 *
 * Names carry their unit when it is not a plain number. Tags have few values; the only ids are those of workers. A tag without `values` takes
 * them from the code that counts (reasons, versions); metrics.ts bounds their number.
 */

import { AUDIT_METRICS } from "./audit-metrics.ts";
import { CERTIFICATE_METRICS } from "./certificate-metrics.ts";
import { CLUSTER_METRICS } from "./cluster-metrics.ts";
import { COMMON_METRICS } from "./common-metrics.ts";
import { LIMIT_METRICS } from "./limit-metrics.ts";
import { LINK_METRICS } from "./link-metrics.ts";
import type { Metric } from "./metric.ts";
import { RESUME_METRICS } from "./resume-metrics.ts";
import { WEBHOOK_METRICS } from "./webhook-metrics.ts";

const RULES = ["sid", "token", "header", "path", "room", "claim", "cookie", "none"] as const;
const REASONS = ["tag", "record", "ring", "load", "misdirected", "told", "nobody"] as const;
const STATUS_CLASSES = ["1xx", "2xx", "3xx", "4xx", "5xx"] as const;
const WORKER_STATES = [
  "up",
  "suspended",
  "draining",
  "unhealthy",
  "down",
  "suspect",
  "dead",
] as const;
const RESUME_CAUSES = [
  "mine",
  "restarted",
  "handed",
  "lease-expired",
  // One version: the same as `lease-expired` (former-tags.ts).
  "lease-gone",
  "replaced",
  "exited",
  "refused",
] as const;

export const METRICS = {
  ...CLUSTER_METRICS,

  // --- balancer ---
  "balancer.requests": {
    scope: "balancer",
    kind: "counter",
    unit: "requests",
    meaning: "requests whose head was accepted, by the rule that found the session key",
    tag: "rule",
    values: RULES,
  },
  "balancer.routes": {
    scope: "balancer",
    kind: "counter",
    unit: "requests",
    meaning: "choices of a worker, by reason; a retried request is counted again",
    tag: "reason",
    values: REASONS,
  },
  "balancer.answers": {
    scope: "balancer",
    kind: "counter",
    unit: "requests",
    meaning: "responses of workers passed on, by status class",
    tag: "status",
    values: STATUS_CLASSES,
  },
  "balancer.failed": {
    scope: "balancer",
    kind: "counter",
    unit: "requests",
    meaning: "requests to which the balancer itself responded with an error, by status",
    tag: "status",
  },
  "balancer.refused": {
    scope: "balancer",
    kind: "counter",
    unit: "requests",
    meaning:
      "connections and requests refused before routing, by reason; includes failed TLS handshakes",
    tag: "reason",
  },
  ...LIMIT_METRICS,
  ...CERTIFICATE_METRICS,
  "balancer.first_byte_ms": {
    scope: "balancer",
    kind: "histogram",
    unit: "ms",
    meaning: "from the head of a request to the head of its response; long polls are left out",
  },
  "balancer.latency_ms": {
    scope: "balancer",
    kind: "histogram",
    unit: "ms",
    meaning: "from the head of a request to the end of its response; long polls are left out",
  },
  "balancer.connections": {
    scope: "balancer",
    kind: "gauge",
    unit: "connections",
    meaning: "open client connections",
  },
  "balancer.connections_limit": {
    scope: "balancer",
    kind: "gauge",
    unit: "connections",
    meaning:
      "client connections that it accepts at most: CT_MAX_CONNECTIONS, or fewer with too few file descriptors",
  },
  "balancer.tunnels": {
    scope: "balancer",
    kind: "gauge",
    unit: "connections",
    meaning: "open WebSockets",
  },
  "balancer.upgrades": {
    scope: "balancer",
    kind: "counter",
    unit: "connections",
    meaning: "connections that became a tunnel",
  },
  "balancer.misdirected": {
    scope: "balancer",
    kind: "counter",
    unit: "requests",
    meaning: "responses of workers with status 421, by what the balancer did about them",
    tag: "outcome",
  },
  "balancer.outdated": {
    scope: "balancer",
    kind: "counter",
    unit: "events",
    meaning:
      "connections that a worker accepted for a session although another worker has it under a higher epoch",
  },
  "balancer.retries": {
    scope: "balancer",
    kind: "counter",
    unit: "requests",
    meaning: "requests sent again after a worker failed",
  },
  "balancer.held": {
    scope: "balancer",
    kind: "counter",
    unit: "requests",
    meaning: "requests queued for a retry because their worker could not be reached",
  },
  "balancer.holding": {
    scope: "balancer",
    kind: "gauge",
    unit: "requests",
    meaning: "requests in the retry queue",
  },
  "balancer.lookups": {
    scope: "balancer",
    kind: "counter",
    unit: "requests",
    meaning: "lookups of a session's record in the store, by result",
    tag: "result",
    values: ["found", "none", "late", "away"],
  },
  "balancer.moved": {
    scope: "balancer",
    kind: "counter",
    unit: "events",
    meaning: "sessions seen to have moved to another worker (under a higher epoch)",
  },
  "balancer.workers": {
    scope: "balancer",
    kind: "gauge",
    unit: "number",
    meaning: "workers as this balancer sees them, by state",
    tag: "state",
    values: WORKER_STATES,
  },
  "balancer.rings": {
    scope: "balancer",
    kind: "gauge",
    unit: "number",
    meaning:
      "different hash rings among the members; with more than one, processes route the same key differently",
  },
  "balancer.members_ignored": {
    scope: "balancer",
    kind: "gauge",
    unit: "number",
    meaning:
      "members that it ignores, because their CT_SECRET differs or their address is not allowed",
  },

  // --- worker ---
  "worker.users.online": {
    scope: "worker",
    kind: "gauge",
    unit: "number",
    meaning: "people with an open connection to this worker, each counted once",
  },
  "worker.sessions.active": {
    scope: "worker",
    kind: "gauge",
    unit: "number",
    meaning:
      "sessions of this worker whose host has connected; while it drains, those still to hand over",
  },
  "worker.connections.active": {
    scope: "worker",
    kind: "gauge",
    unit: "connections",
    meaning: "open connections of people in sessions of this worker",
  },
  "worker.peers.away": {
    scope: "worker",
    kind: "gauge",
    unit: "number",
    meaning: "participants who lost their connection and may still reconnect",
  },
  "worker.buffer_bytes": {
    scope: "worker",
    kind: "gauge",
    unit: "bytes",
    meaning: "pending messages of participants who are away or read slowly",
  },
  "worker.polls.waiting": {
    scope: "worker",
    kind: "gauge",
    unit: "requests",
    meaning: "open long polls of clients",
  },
  "worker.requests_refused": {
    scope: "worker",
    kind: "counter",
    unit: "requests",
    meaning: "refused requests to the HTTP API of the session protocol, by reason",
    tag: "reason",
  },
  "worker.requests_misdirected": {
    scope: "worker",
    kind: "counter",
    unit: "requests",
    meaning: "requests for a session that another worker owns; the response is 421",
  },
  "worker.credentials_refused": {
    scope: "worker",
    kind: "counter",
    unit: "requests",
    meaning: "requests for operators' pages with wrong credentials",
  },
  "worker.downloads": {
    scope: "worker",
    kind: "counter",
    unit: "events",
    meaning: "downloads of plugins and extensions started, by IDE",
    tag: "ide",
    values: ["vscode", "intellij", "eclipse"],
  },
  "worker.logins": {
    scope: "worker",
    kind: "counter",
    unit: "events",
    meaning: "completed sign-ins, by method",
    tag: "way",
  },
  "worker.operator_logins": {
    scope: "worker",
    kind: "counter",
    unit: "events",
    meaning: "operators who signed in at an identity provider, by role",
    tag: "role",
    values: ["view", "operate", "admin"],
  },
  "worker.policy.problem": {
    scope: "worker",
    kind: "gauge",
    unit: "number",
    meaning:
      "1 while the file of CT_POLICY has mistakes, so that the last good policy stays in force",
  },
  "worker.policy.changes": {
    scope: "worker",
    kind: "counter",
    unit: "events",
    meaning:
      "policies that came in force after the start, because the file of CT_POLICY had changed",
  },
  "worker.sign_ins.checked": {
    scope: "worker",
    kind: "counter",
    unit: "events",
    meaning: "checks of sign-ins at their identity provider, by outcome",
    tag: "outcome",
    values: ["confirmed", "failed", "postponed", "ended"],
  },
  "worker.sign_ins.ended": {
    scope: "worker",
    kind: "counter",
    unit: "events",
    meaning: "sign-ins at identity providers that were ended, by cause",
    tag: "cause",
    values: ["refused", "not allowed", "unconfirmed", "provider", "operator", "signed out"],
  },
  "worker.sessions_created": {
    scope: "worker",
    kind: "counter",
    unit: "events",
    meaning: "sessions created",
  },
  "worker.sessions_resumed": {
    scope: "worker",
    kind: "counter",
    unit: "events",
    meaning: "sessions resumed from the store after a takeover or a restart, by cause",
    tag: "cause",
    values: RESUME_CAUSES,
  },
  "worker.resume_ms": {
    scope: "worker",
    kind: "histogram",
    unit: "ms",
    meaning:
      "for resumed sessions: from the lookup of the owner until this worker serves the session",
  },
  "worker.sessions_drained": {
    scope: "worker",
    kind: "counter",
    unit: "events",
    meaning: "sessions that a drain had to hand over, by outcome",
    tag: "outcome",
    // One version: `nobody` is the same as `none` (former-tags.ts).
    values: ["handed", "kept", "gone", "none", "nobody"],
  },
  "worker.sessions_closed": {
    scope: "worker",
    kind: "counter",
    unit: "events",
    meaning: "sessions closed, by reason",
    tag: "reason",
  },
  "worker.sessions_reasserted": {
    scope: "worker",
    kind: "counter",
    unit: "events",
    meaning: "sessions missing from the store that their worker wrote again",
  },
  "worker.claims_parked": {
    scope: "worker",
    kind: "counter",
    unit: "events",
    meaning: "connections and joins that waited until the owner of their session was clear",
  },
  "worker.fenced": {
    scope: "worker",
    kind: "counter",
    unit: "events",
    meaning: "times that a worker stopped relaying because its lease was not renewed in time",
  },
  "worker.joins": {
    scope: "worker",
    kind: "counter",
    unit: "requests",
    meaning: "join requests, by result",
    tag: "result",
  },
  "worker.connects_refused": {
    scope: "worker",
    kind: "counter",
    unit: "connections",
    meaning: "socket connections refused, by reason",
    tag: "reason",
  },
  "worker.admissions_delayed": {
    scope: "worker",
    kind: "counter",
    unit: "connections",
    meaning: "people whose admission to a session was delayed by CT_MAX_ADMISSIONS_PER_SECOND",
  },
  "worker.messages_relayed": {
    scope: "worker",
    kind: "counter",
    unit: "messages",
    meaning: "messages received from peers and relayed, by kind",
    tag: "kind",
    values: ["broadcast", "notification", "request", "response", "response-error"],
  },
  "worker.messages_delivered": {
    scope: "worker",
    kind: "counter",
    unit: "messages",
    meaning: "messages delivered to peers",
  },
  "worker.messages_dropped": {
    scope: "worker",
    kind: "counter",
    unit: "messages",
    meaning: "messages dropped, by reason; `no key`: the sender has no key of the receiver",
    tag: "reason",
  },
  "worker.buffer_overflows": {
    scope: "worker",
    kind: "counter",
    unit: "events",
    meaning:
      "buffers that reached CT_MAX_BUFFER_BYTES, by whether the peer was away or slow to read",
    tag: "peer",
    values: ["slow", "away"],
  },
  "worker.floods_slowed": {
    scope: "worker",
    kind: "counter",
    unit: "events",
    meaning:
      "times that reading from a client was paused because it exceeded CT_MAX_MESSAGES_PER_SECOND",
  },

  ...AUDIT_METRICS,
  ...LINK_METRICS,
  ...RESUME_METRICS,
  ...WEBHOOK_METRICS,
  ...COMMON_METRICS,
} as const satisfies Record<string, Metric>;

export type MetricName = keyof typeof METRICS;

/** The names of one kind that a process counts itself; metrics of the cluster are computed from reports. */
type NamesOf<Kind extends Metric["kind"]> = {
  [Name in MetricName]: (typeof METRICS)[Name] extends { scope: "cluster" }
    ? never
    : (typeof METRICS)[Name] extends { kind: Kind }
      ? Name
      : never;
}[MetricName];

export type CounterName = NamesOf<"counter">;
export type GaugeName = NamesOf<"gauge">;
export type HistogramName = NamesOf<"histogram">;

export type TagOf<Name extends MetricName> = (typeof METRICS)[Name] extends {
  values: readonly (infer Value extends string)[];
}
  ? Value
  : (typeof METRICS)[Name] extends { tag: string }
    ? string
    : never;
