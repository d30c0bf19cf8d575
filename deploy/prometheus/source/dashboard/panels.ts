/**
 * The panels of the Grafana dashboard: title, unit and queries, in rows. The selector `$AT` in a query stands for the
 * dashboard's variables.
 */

import type { HistogramName, MetricName } from "../../../../shared/metrics/metric-list.ts";
import { buckets, metric, observations } from "../rules/metric.ts";

export interface Panel {
  readonly title: string;
  /** Grafana's name of the unit. */
  readonly unit: "short" | "s" | "bytes" | "percentunit" | "reqps" | "ops" | "Bps";
  readonly queries: readonly Query[];
  readonly stacked?: true;
}

export interface Query {
  readonly expr: string;
  /** With `{{label}}`. */
  readonly legend: string;
}

export interface Row {
  readonly title: string;
  readonly panels: readonly Panel[];
}

const AT = 'namespace=~"$namespace",job=~"$job"';
const RANGE = "[$__rate_interval]";

function at(name: MetricName, labels = ""): string {
  return metric(name, labels === "" ? AT : `${AT},${labels}`);
}

function rate(name: MetricName, labels = ""): string {
  return `rate(${at(name, labels)}${RANGE})`;
}

/** Every worker reports the same value. */
function ofCluster(name: MetricName): string {
  return `max by (namespace) (${at(name)})`;
}

function quantiles(name: HistogramName, by = ""): Query[] {
  return ["0.5", "0.99"].map((share) => ({
    expr: `histogram_quantile(${share}, sum by (le${by}) (rate(${buckets(name)}{${AT}}${RANGE})))`,
    legend: `p${Number(share) * 100}`,
  }));
}

function mean(name: HistogramName): string {
  return `sum(rate(${observations(name)}{${AT}}${RANGE}))`;
}

const PEOPLE: Row = {
  title: "People and sessions",
  panels: [
    {
      title: "Sessions",
      unit: "short",
      queries: [{ expr: ofCluster("sessions.active"), legend: "sessions {{namespace}}" }],
    },
    {
      title: "People online",
      unit: "short",
      queries: [{ expr: ofCluster("users.online"), legend: "people {{namespace}}" }],
    },
    {
      title: "Connections",
      unit: "short",
      queries: [
        { expr: ofCluster("connections.active"), legend: "in sessions {{namespace}}" },
        { expr: `sum(${at("balancer.tunnels")})`, legend: "WebSockets at balancers" },
        { expr: `sum(${at("balancer.connections")})`, legend: "connections at balancers" },
        { expr: `sum(${at("worker.peers.away")})`, legend: "people who may reconnect" },
      ],
    },
    {
      title: "Sessions by worker",
      unit: "short",
      stacked: true,
      queries: [{ expr: at("worker.sessions.active"), legend: "{{instance}}" }],
    },
    {
      title: "Messages",
      unit: "ops",
      queries: [
        { expr: `sum(${rate("worker.messages_relayed")})`, legend: "received" },
        { expr: `sum(${rate("worker.messages_delivered")})`, legend: "delivered" },
        {
          expr: `sum by (reason) (${rate("worker.messages_dropped")})`,
          legend: "dropped: {{reason}}",
        },
      ],
    },
    {
      title: "Pending messages of people who are away or read slowly",
      unit: "bytes",
      queries: [{ expr: at("worker.buffer_bytes"), legend: "{{instance}}" }],
    },
  ],
};

const REQUESTS: Row = {
  title: "Requests",
  panels: [
    {
      title: "Requests",
      unit: "reqps",
      queries: [{ expr: `sum by (rule) (${rate("balancer.requests")})`, legend: "{{rule}}" }],
      stacked: true,
    },
    {
      title: "Responses with errors, refusals",
      unit: "reqps",
      queries: [
        { expr: `sum by (status) (${rate("balancer.failed")})`, legend: "balancer {{status}}" },
        { expr: `sum(${rate("balancer.answers", 'status="5xx"')})`, legend: "workers 5xx" },
        { expr: `sum by (reason) (${rate("balancer.refused")})`, legend: "refused: {{reason}}" },
      ],
    },
    {
      title: "Time to the head of the response",
      unit: "s",
      queries: quantiles("balancer.first_byte_ms"),
    },
    {
      title: "Time to the end of the response",
      unit: "s",
      queries: quantiles("balancer.latency_ms"),
    },
    {
      title: "Retries, misdirected and queued requests",
      unit: "reqps",
      queries: [
        { expr: `sum(${rate("balancer.retries")})`, legend: "retries" },
        {
          // Without the former name of an outcome, which is counted too.
          expr: `sum by (outcome) (${rate("balancer.misdirected", 'outcome!~"not.meant"')})`,
          legend: "misdirected: {{outcome}}",
        },
        { expr: `sum(${rate("balancer.held")})`, legend: "queued for a retry" },
        { expr: `sum(${rate("worker.requests_misdirected")})`, legend: "421 of workers" },
      ],
    },
    {
      title: "Connections, of the limit",
      unit: "percentunit",
      queries: [
        {
          expr: `${at("balancer.connections")} / ${at("balancer.connections_limit")}`,
          legend: "{{instance}}",
        },
      ],
    },
  ],
};

const WORKERS: Row = {
  title: "Workers",
  panels: [
    {
      title: "Workers by state, as balancers see them",
      unit: "short",
      stacked: true,
      queries: [
        {
          // The names of the version before are left out.
          expr: `max by (state) (${at("balancer.workers", 'state!~"suspect|dead"')})`,
          legend: "{{state}}",
        },
      ],
    },
    {
      title: "Workers: live and wanted",
      unit: "short",
      queries: [
        { expr: ofCluster("workers.counted"), legend: "live" },
        { expr: `max by (namespace) (codetogether_workers_wanted{${AT}})`, legend: "wanted" },
      ],
    },
    {
      title: "Sessions that moved or were taken over",
      unit: "ops",
      queries: [
        {
          expr: `sum by (cause) (${rate("worker.sessions_resumed", 'cause!="lease-gone"')})`,
          legend: "{{cause}}",
        },
        {
          expr: `sum(${rate("worker.sessions_drained", 'outcome="kept"')})`,
          legend: "kept at a drain",
        },
      ],
    },
    {
      title: "WebSockets while their session moves",
      unit: "short",
      queries: [
        { expr: `sum(${at("balancer.resume.waiting")})`, legend: "waiting" },
        {
          expr: `sum by (cause) (increase(${at("balancer.resume.done")}${RANGE}))`,
          legend: "went on: {{cause}}",
        },
        {
          expr: `sum by (reason) (increase(${at("balancer.resume.closed")}${RANGE}))`,
          legend: "closed: {{reason}}",
        },
      ],
    },
    {
      title: "Pause of WebSockets that moved",
      unit: "s",
      queries: quantiles("balancer.resume.gap_ms"),
    },
    {
      title: "Time to resume a session",
      unit: "s",
      queries: quantiles("worker.resume_ms"),
    },
  ],
};

const STORE_AND_LINK: Row = {
  title: "Store and links",
  panels: [
    {
      title: "Processes that reach the store, and that do not",
      unit: "short",
      queries: [
        { expr: `sum(${at("store.up")})`, legend: "reach it" },
        { expr: `count(${at("store.up")} == 0) or vector(0)`, legend: "do not" },
      ],
    },
    {
      title: "Time of store operations",
      unit: "s",
      queries: quantiles("store.latency_ms"),
    },
    {
      title: "Store operations, failures",
      unit: "ops",
      queries: [
        { expr: mean("store.latency_ms"), legend: "done" },
        { expr: `sum by (operation) (${rate("store.failures")})`, legend: "failed: {{operation}}" },
        { expr: `sum by (reason) (${rate("store.refusals")})`, legend: "refused: {{reason}}" },
      ],
    },
    {
      title: "Links and their streams",
      unit: "short",
      queries: [
        { expr: `sum by (instance) (${at("balancer.links")})`, legend: "links of {{instance}}" },
        {
          expr: `sum by (instance) (${at("balancer.link.streams")})`,
          legend: "streams of {{instance}}",
        },
      ],
    },
    {
      title: "Bytes over links",
      unit: "Bps",
      queries: [
        { expr: `sum(${rate("balancer.link.sent_bytes")})`, legend: "to workers" },
        { expr: `sum(${rate("balancer.link.received_bytes")})`, legend: "from workers" },
      ],
    },
    {
      title: "Links: waits for receivers, resets, errors",
      unit: "ops",
      queries: [
        { expr: `sum(${rate("balancer.link.stalls")})`, legend: "waits" },
        { expr: `sum(${rate("balancer.link.resets")})`, legend: "resets" },
        { expr: `sum(${rate("balancer.link.errors")})`, legend: "errors" },
      ],
    },
  ],
};

const PROCESSES: Row = {
  title: "Processes",
  panels: [
    {
      title: "CPU, in cores",
      unit: "short",
      queries: [{ expr: rate("process.cpu_ms"), legend: "{{job}} {{instance}}" }],
    },
    {
      title: "Memory",
      unit: "bytes",
      queries: [{ expr: at("process.rss_bytes"), legend: "{{job}} {{instance}}" }],
    },
    {
      title: "Event-loop delay, p99 of the worst second",
      unit: "s",
      queries: [{ expr: at("process.lag.p99"), legend: "{{job}} {{instance}}" }],
    },
    {
      title: "Event-loop utilization",
      unit: "percentunit",
      queries: [{ expr: at("process.elu"), legend: "{{job}} {{instance}}" }],
    },
    {
      title: "Restarts",
      unit: "short",
      queries: [
        {
          expr: `changes(${at("process.start_time_ms")}${RANGE})`,
          legend: "{{job}} {{instance}}",
        },
      ],
    },
    {
      title: "Log lines dropped, certificates",
      unit: "short",
      queries: [
        { expr: `sum(${rate("log.lines_dropped")})`, legend: "log lines dropped per second" },
        {
          expr: `min(${at("balancer.certificate_expires_in_ms")}) / 86400`,
          legend: "days until a certificate expires",
        },
      ],
    },
  ],
};

export const ROWS: readonly Row[] = [PEOPLE, REQUESTS, WORKERS, STORE_AND_LINK, PROCESSES];
