/** Metrics of the whole cluster, summed from the reports of its workers. */
import type { Metric } from "./metric.ts";

export const CLUSTER_METRICS = {
  "users.online": {
    scope: "cluster",
    kind: "gauge",
    unit: "number",
    meaning:
      "people with an open connection, each counted once (identified by provider and email, or by name)",
  },
  "sessions.active": {
    scope: "cluster",
    kind: "gauge",
    unit: "number",
    meaning: "open sessions whose host has connected",
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
    meaning: "mean event-loop delay, averaged over the workers with equal weight",
  },
  "lag.worst": {
    scope: "cluster",
    kind: "gauge",
    unit: "ms",
    meaning: "mean event-loop delay of the worker where it is highest",
  },
  "workers.counted": {
    scope: "cluster",
    kind: "gauge",
    unit: "number",
    meaning: "live workers included in these sums",
  },
  "sessions.hosted": {
    scope: "cluster",
    kind: "counter",
    unit: "events",
    meaning: "sessions whose host has connected, since the store was empty",
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
      "plugins and extensions downloaded, since the store was empty, by IDE and version; beyond 200 versions the rest is `other`",
    tag: "ide",
    secondTag: "version",
    inPrometheus: "downloads",
  },
  "sessions.hosted_total": {
    scope: "cluster",
    kind: "gauge",
    unit: "number",
    meaning:
      "current value of sessions.hosted, for StatsD, where a counter is the increase since the last interval",
    only: "statsd",
  },
  downloads_total: {
    scope: "cluster",
    kind: "gauge",
    unit: "number",
    meaning:
      "current value of downloads, for StatsD, where a counter is the increase since the last interval",
    only: "statsd",
  },
} as const satisfies Record<string, Metric>;
