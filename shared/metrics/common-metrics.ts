/** Metrics of the whole cluster, of every balancer and worker, and of the `ct-edge` process. */
import { by, counter, gauge, histogram } from "./metric.ts";

/** Summed from the reports of the workers. */
export const CLUSTER_METRICS = {
  "users.online": gauge("number").meaning(
    "people with an open connection, each counted once (identified by provider and email, or by name)",
  ),
  "sessions.active": gauge("number").meaning("open sessions whose host has connected"),
  "connections.active": gauge("connections").meaning("open connections of people in sessions"),
  "lag.average": gauge("ms").meaning(
    "mean event-loop delay, averaged over the workers with equal weight",
  ),
  "lag.worst": gauge("ms").meaning("mean event-loop delay of the worker where it is highest"),
  "workers.counted": gauge("number").meaning("live workers included in these sums"),
  "sessions.hosted": counter("events").meaning(
    "sessions whose host has connected, since the store was empty",
  ),
  downloads: counter("events", { only: "statsd" }).meaning(
    "plugins and extensions downloaded, since the store was empty",
  ),
  downloads_by: counter("events", {
    ...by("ide"),
    secondTag: "version",
    inPrometheus: "downloads",
  }).meaning(
    "plugins and extensions downloaded, since the store was empty, by IDE and version; beyond 200 versions the rest is `other`",
  ),
  "sessions.hosted_total": gauge("number", { only: "statsd" }).meaning(
    "current value of sessions.hosted, for StatsD, where a counter is the increase since the last interval",
  ),
  downloads_total: gauge("number", { only: "statsd" }).meaning(
    "current value of downloads, for StatsD, where a counter is the increase since the last interval",
  ),
};

/** Of every balancer and worker. */
export const PROCESS_METRICS = {
  "process.lag.average": gauge("ms").meaning("mean event-loop delay over the last 10 s"),
  "process.lag.p99": gauge("ms").meaning(
    "event-loop delay, 99th percentile of the worst second of the last 10 s",
  ),
  "process.lag.max": gauge("ms").meaning("longest event-loop delay in the last 10 s"),
  "process.elu": gauge("number").meaning("event-loop utilization over the last 10 s, 0 to 1"),
  "process.rss_bytes": gauge("bytes").meaning("resident memory of the process"),
  "process.workers_wanted": gauge("number", { inPrometheus: "workers_wanted" }).meaning(
    "number of workers that the load needs, as GET /autoscale says; missing while that is not known. Every process says the same: use the maximum",
  ),
  "process.cpu_ms": counter("ms").meaning("time on the CPU, of all threads of the process"),
  "process.start_time_ms": gauge("ms").meaning("when the process started, since the Unix epoch"),
  "store.up": gauge("number").meaning("1 while the store responds, 0 while it is away"),
  "store.latency_ms": histogram("ms").meaning("from a store operation to its reply"),
  "store.failures": counter("events", by("operation")).meaning(
    "store operations that failed, by operation",
  ),
  "store.refusals": counter("events", by("reason", ["full", "refused"])).meaning(
    "operations that the store refused although it responds, by reason: `full` (its memory), `refused` (a missing permission, or a bug)",
  ),
  "store.ignored": counter("events", by("kind")).meaning(
    "invalid values read from the store and ignored, by kind",
  ),
  "log.lines_dropped": counter("events").meaning(
    "log lines that could not be written to their file or to standard output",
  ),
  "log.lines_left_out": counter("events", by("log", ["server", "access", "error"])).meaning(
    "log lines of this process that are missing on dashboards of other machines, because they came too fast or the store was away, by log",
  ),
};

/** Of the edge on one machine. */
export const EDGE_METRICS = {
  "edge.restarts": counter("events", by("role")).meaning(
    "child processes restarted after an unexpected end, by role",
  ),
};
