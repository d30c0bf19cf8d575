/**
 * Every metric of the product, declared once: its kind, unit, meaning, and the few values of its tag. What is counted under
 * another name does not compile; docs/metrics.md is generated from here. How a name reads in StatsD and in Prometheus:
 * metric-names.ts.
 *
 * Names carry their unit when it is not a plain number. Tags have few values, never an id. A tag without `values` has those
 * that its code gives it (reasons, versions); their number is bounded where they are counted (metrics.ts).
 */

/** Whose metric it is: `process` belongs to every balancer and worker, `cluster` to all of them together. */
export type Scope = "cluster" | "balancer" | "worker" | "process" | "edge";

export type Unit = "ms" | "bytes" | "events" | "requests" | "connections" | "messages" | "number";

export interface Metric {
  readonly scope: Scope;
  /**
   * `counter`: only rises, from the start of the process. `gauge`: as it is now, never negative. `histogram`: how often a
   * value fell into each of the buckets of `LATENCY_BUCKETS_MS`.
   */
  readonly kind: "counter" | "gauge" | "histogram";
  readonly unit: Unit;
  readonly meaning: string;
  /** What its series differ by. */
  readonly tag?: string;
  readonly values?: readonly string[];
  /** Where its series differ by two things: the other one. A series' tag then holds both values, a slash between them. */
  readonly secondTag?: string;
  /** Its name in Prometheus without prefix and unit, where that is not its own. */
  readonly inPrometheus?: string;
  /** Says the same as another one, in a form that only one way of publishing needs. */
  readonly only?: "statsd";
}

/** Upper bounds. From a request that a near worker answers at once to one that its client gives up. */
export const LATENCY_BUCKETS_MS: readonly number[] = [
  1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000,
];

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
  // One version: the same as `lease-expired` (renamed-worker-tags.ts).
  "lease-gone",
  "replaced",
  "exited",
  "refused",
] as const;

export const METRICS = {
  // --- the whole cluster ---
  "users.online": {
    scope: "cluster",
    kind: "gauge",
    unit: "number",
    meaning: "people with an open connection, each once: by provider and email, or name",
  },
  "sessions.active": {
    scope: "cluster",
    kind: "gauge",
    unit: "number",
    meaning: "sessions whose host has come and that have not ended",
  },
  "connections.active": {
    scope: "cluster",
    kind: "gauge",
    unit: "connections",
    meaning: "open connections of people in sessions",
  },
  "lag.average": {
    scope: "cluster",
    kind: "gauge",
    unit: "ms",
    meaning: "mean delay of the workers' event loops, each worker counting the same",
  },
  "lag.worst": {
    scope: "cluster",
    kind: "gauge",
    unit: "ms",
    meaning: "mean delay of the event loop of the worker where it is highest",
  },
  "workers.counted": {
    scope: "cluster",
    kind: "gauge",
    unit: "number",
    meaning: "live workers whose numbers are in these sums",
  },
  "sessions.hosted": {
    scope: "cluster",
    kind: "counter",
    unit: "events",
    meaning: "sessions whose host has come, since the store was empty",
  },
  downloads: {
    scope: "cluster",
    kind: "counter",
    unit: "events",
    meaning: "plugins and extensions downloaded, since the store was empty",
    only: "statsd",
  },
  downloads_by: {
    scope: "cluster",
    kind: "counter",
    unit: "events",
    meaning:
      "plugins and extensions downloaded, since the store was empty, by IDE and version; of more than 200 versions the rest is `other`",
    tag: "ide",
    secondTag: "version",
    inPrometheus: "downloads",
  },
  "sessions.hosted_total": {
    scope: "cluster",
    kind: "gauge",
    unit: "number",
    meaning: "sessions.hosted as it stands, for StatsD, where a counter is what came since",
    only: "statsd",
  },
  downloads_total: {
    scope: "cluster",
    kind: "gauge",
    unit: "number",
    meaning: "downloads as it stands, for StatsD, where a counter is what came since",
    only: "statsd",
  },

  // --- balancer ---
  "balancer.requests": {
    scope: "balancer",
    kind: "counter",
    unit: "requests",
    meaning: "requests whose head was accepted, by the rule that found their session key",
    tag: "rule",
    values: RULES,
  },
  "balancer.routes": {
    scope: "balancer",
    kind: "counter",
    unit: "requests",
    meaning: "choices of a worker, by reason; a request that is sent again is chosen for again",
    tag: "reason",
    values: REASONS,
  },
  "balancer.answers": {
    scope: "balancer",
    kind: "counter",
    unit: "requests",
    meaning: "answers of workers passed on, by class of status",
    tag: "status",
    values: STATUS_CLASSES,
  },
  "balancer.failed": {
    scope: "balancer",
    kind: "counter",
    unit: "requests",
    meaning: "requests answered by the balancer itself, by status",
    tag: "status",
  },
  "balancer.refused": {
    scope: "balancer",
    kind: "counter",
    unit: "requests",
    meaning:
      "connections and requests refused before routing, by reason; also failed TLS handshakes",
    tag: "reason",
  },
  "balancer.first_byte_ms": {
    scope: "balancer",
    kind: "histogram",
    unit: "ms",
    meaning:
      "from the head of a request to the head of its answer; polls, which wait, are left out",
  },
  "balancer.latency_ms": {
    scope: "balancer",
    kind: "histogram",
    unit: "ms",
    meaning: "from the head of a request to the end of its answer; polls, which wait, are left out",
  },
  "balancer.connections": {
    scope: "balancer",
    kind: "gauge",
    unit: "connections",
    meaning: "open connections of clients",
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
    meaning: "answers 421 of a worker, by what was done about them",
    tag: "outcome",
  },
  "balancer.outdated": {
    scope: "balancer",
    kind: "counter",
    unit: "events",
    meaning:
      "connections that a worker opened for a session that was seen elsewhere in a higher epoch",
  },
  "balancer.retries": {
    scope: "balancer",
    kind: "counter",
    unit: "requests",
    meaning: "requests sent once more after a worker failed",
  },
  "balancer.held": {
    scope: "balancer",
    kind: "counter",
    unit: "requests",
    meaning: "requests kept back because their worker could not be reached",
  },
  "balancer.holding": {
    scope: "balancer",
    kind: "gauge",
    unit: "requests",
    meaning: "requests that are kept back now",
  },
  "balancer.lookups": {
    scope: "balancer",
    kind: "counter",
    unit: "requests",
    meaning: "look-ups of a session's record in the store, by result",
    tag: "result",
    values: ["found", "none", "late", "away"],
  },
  "balancer.moved": {
    scope: "balancer",
    kind: "counter",
    unit: "events",
    meaning: "sessions that were seen at another worker under a higher epoch",
  },
  "balancer.workers": {
    scope: "balancer",
    kind: "gauge",
    unit: "number",
    meaning: "workers as this balancer sees them, by state",
    tag: "state",
    values: WORKER_STATES,
  },

  // --- worker ---
  "worker.users.online": {
    scope: "worker",
    kind: "gauge",
    unit: "number",
    meaning: "people with an open connection to this worker, each once",
  },
  "worker.sessions.active": {
    scope: "worker",
    kind: "gauge",
    unit: "number",
    meaning:
      "sessions of this worker whose host has come; while it drains, those still to hand over",
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
    meaning: "participants who have lost their connection and are waited for",
  },
  "worker.buffer_bytes": {
    scope: "worker",
    kind: "gauge",
    unit: "bytes",
    meaning: "kept for participants who are away or read slowly",
  },
  "worker.polls.waiting": {
    scope: "worker",
    kind: "gauge",
    unit: "requests",
    meaning: "polls of clients that wait for an answer",
  },
  "worker.requests_refused": {
    scope: "worker",
    kind: "counter",
    unit: "requests",
    meaning: "requests to the session protocol's HTTP interface refused, by reason",
    tag: "reason",
  },
  "worker.requests_misdirected": {
    scope: "worker",
    kind: "counter",
    unit: "requests",
    meaning: "requests for a session that another worker owns, answered 421",
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
    meaning: "downloads of plugins and extensions begun, by IDE",
    tag: "ide",
    values: ["vscode", "intellij", "eclipse"],
  },
  "worker.logins": {
    scope: "worker",
    kind: "counter",
    unit: "events",
    meaning: "finished sign-ins, by way of signing in",
    tag: "way",
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
    meaning: "sessions taken up again from the store, by cause: take-overs and restarts",
    tag: "cause",
    values: RESUME_CAUSES,
  },
  "worker.resume_ms": {
    scope: "worker",
    kind: "histogram",
    unit: "ms",
    meaning:
      "from the question whose a session is to its being served here, for those taken up again",
  },
  "worker.sessions_drained": {
    scope: "worker",
    kind: "counter",
    unit: "events",
    meaning: "sessions that a drain was to hand over, by what came of it",
    tag: "outcome",
    // One version: `nobody` is the same as `none` (renamed-worker-tags.ts).
    values: ["handed", "kept", "gone", "none", "nobody"],
  },
  "worker.sessions_closed": {
    scope: "worker",
    kind: "counter",
    unit: "events",
    meaning: "sessions ended, by reason",
    tag: "reason",
  },
  "worker.sessions_reasserted": {
    scope: "worker",
    kind: "counter",
    unit: "events",
    meaning: "sessions that the store did not know any more and was told of again",
  },
  "worker.claims_parked": {
    scope: "worker",
    kind: "counter",
    unit: "events",
    meaning: "connections and joins that waited until it was clear who has their session",
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
    meaning: "people who waited in line to be let into their session, because many came at once",
  },
  "worker.messages_relayed": {
    scope: "worker",
    kind: "counter",
    unit: "messages",
    meaning: "messages taken from peers and relayed, by kind",
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
    meaning: "messages dropped, by reason; `no key`: its sender knows no key of the receiver",
    tag: "reason",
  },
  "worker.buffer_overflows": {
    scope: "worker",
    kind: "counter",
    unit: "events",
    meaning: "buffers of peers that are away or read slowly that reached their limit",
    tag: "peer",
    values: ["slow", "away"],
  },
  "worker.floods_slowed": {
    scope: "worker",
    kind: "counter",
    unit: "events",
    meaning: "times a client that sent too much was not read for a while",
  },

  // --- every balancer and worker ---
  "process.lag.average": {
    scope: "process",
    kind: "gauge",
    unit: "ms",
    meaning: "mean delay of the event loop over the last 10 s",
  },
  "process.lag.p99": {
    scope: "process",
    kind: "gauge",
    unit: "ms",
    meaning:
      "delay of the event loop that one sample in a hundred exceeded, in the worst of the last 10 s",
  },
  "process.lag.max": {
    scope: "process",
    kind: "gauge",
    unit: "ms",
    meaning: "longest delay of the event loop over the last 10 s",
  },
  "process.elu": {
    scope: "process",
    kind: "gauge",
    unit: "number",
    meaning: "share of the last 10 s in which the event loop was busy, 0 to 1",
  },
  "process.rss_bytes": {
    scope: "process",
    kind: "gauge",
    unit: "bytes",
    meaning: "memory of the process",
  },
  "store.up": {
    scope: "process",
    kind: "gauge",
    unit: "number",
    meaning: "1 while the store answers, 0 while it is away",
  },
  "store.latency_ms": {
    scope: "process",
    kind: "histogram",
    unit: "ms",
    meaning: "from asking the store to its answer",
  },
  "store.failures": {
    scope: "process",
    kind: "counter",
    unit: "events",
    meaning: "store operations that failed, by operation",
    tag: "operation",
  },
  "store.ignored": {
    scope: "process",
    kind: "counter",
    unit: "events",
    meaning: "values read from the store that made no sense and were ignored, by kind",
    tag: "kind",
  },
  "log.lines_dropped": {
    scope: "process",
    kind: "counter",
    unit: "events",
    meaning: "log lines that could not be written to their file or to standard output",
  },
  "log.lines_left_out": {
    scope: "process",
    kind: "counter",
    unit: "events",
    meaning:
      "log lines that the dashboard does not show of a process on another machine, because they came too fast or the store was away, by log",
    tag: "log",
    values: ["server", "access", "error"],
  },

  // --- the edge on one machine ---
  "edge.restarts": {
    scope: "edge",
    kind: "counter",
    unit: "events",
    meaning: "child processes started again after they ended unexpectedly, by role",
    tag: "role",
  },
} as const satisfies Record<string, Metric>;

export type MetricName = keyof typeof METRICS;

/** The names of one kind that a process counts itself; what belongs to the cluster is summed up from all of them. */
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

/** What a series of this metric may be tagged with. */
export type TagOf<Name extends MetricName> = (typeof METRICS)[Name] extends {
  values: readonly (infer Value extends string)[];
}
  ? Value
  : (typeof METRICS)[Name] extends { tag: string }
    ? string
    : never;
