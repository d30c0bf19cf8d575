/** Metrics of every balancer and worker, and of the `ct-edge` process. */
import type { Metric } from "./metric.ts";

export const COMMON_METRICS = {
  // --- every balancer and worker ---
  "process.lag.average": {
    scope: "process",
    kind: "gauge",
    unit: "ms",
    meaning: "mean event-loop delay over the last 10 s",
  },
  "process.lag.p99": {
    scope: "process",
    kind: "gauge",
    unit: "ms",
    meaning: "event-loop delay, 99th percentile of the worst second of the last 10 s",
  },
  "process.lag.max": {
    scope: "process",
    kind: "gauge",
    unit: "ms",
    meaning: "longest event-loop delay in the last 10 s",
  },
  "process.elu": {
    scope: "process",
    kind: "gauge",
    unit: "number",
    meaning: "event-loop utilization over the last 10 s, 0 to 1",
  },
  "process.rss_bytes": {
    scope: "process",
    kind: "gauge",
    unit: "bytes",
    meaning: "resident memory of the process",
  },
  "process.workers_wanted": {
    scope: "process",
    kind: "gauge",
    unit: "number",
    meaning:
      "number of workers that the load needs, as GET /autoscale says; missing while that is not known. Every process says the same: use the maximum",
    inPrometheus: "workers_wanted",
  },
  "process.cpu_ms": {
    scope: "process",
    kind: "counter",
    unit: "ms",
    meaning: "time on the CPU, of all threads of the process",
  },
  "process.start_time_ms": {
    scope: "process",
    kind: "gauge",
    unit: "ms",
    meaning: "when the process started, since the Unix epoch",
  },
  "store.up": {
    scope: "process",
    kind: "gauge",
    unit: "number",
    meaning: "1 while the store responds, 0 while it is away",
  },
  "store.latency_ms": {
    scope: "process",
    kind: "histogram",
    unit: "ms",
    meaning: "from a store operation to its reply",
  },
  "store.failures": {
    scope: "process",
    kind: "counter",
    unit: "events",
    meaning: "store operations that failed, by operation",
    tag: "operation",
  },
  "store.refusals": {
    scope: "process",
    kind: "counter",
    unit: "events",
    meaning:
      "operations that the store refused although it responds, by reason: `full` (its memory), `refused` (a missing permission, or a bug)",
    tag: "reason",
    values: ["full", "refused"],
  },
  "store.ignored": {
    scope: "process",
    kind: "counter",
    unit: "events",
    meaning: "invalid values read from the store and ignored, by kind",
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
      "log lines of this process that are missing on dashboards of other machines, because they came too fast or the store was away, by log",
    tag: "log",
    values: ["server", "access", "error"],
  },

  // --- the edge on one machine ---
  "edge.restarts": {
    scope: "edge",
    kind: "counter",
    unit: "events",
    meaning: "child processes restarted after an unexpected end, by role",
    tag: "role",
  },
} as const satisfies Record<string, Metric>;
