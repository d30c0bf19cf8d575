/**
 * The list of all counters and gauges, each with its meaning, and where their values are kept in a process. Tags have
 * few values, never an id. The status port shows them.
 */

/** Every counter of the product: name to meaning. Names carry no unit because all of them count events. */
export const COUNTERS = {
  "balancer.requests": "requests whose head was accepted, by rule",
  "balancer.refused": "requests refused before routing, by reason",
  "balancer.upgrades": "connections that became a tunnel",
  "balancer.misdirected": "answers 421 of a worker, by what was done about them",
  "balancer.failed": "requests answered by the balancer itself, by status",
  "balancer.retries": "requests sent to a second worker",
  "balancer.held": "requests kept back because their worker could not be reached",
  "balancer.lookups": "look-ups of a session's record in the store, by result",
  "worker.requests_refused": "requests to the session protocol's HTTP interface refused, by reason",
  "worker.logins": "finished sign-ins, by way of signing in",
  "worker.sessions_created": "sessions created",
  "worker.sessions_resumed": "sessions taken up again from the store, by cause",
  "worker.sessions_closed": "sessions ended, by reason",
  "worker.joins": "join requests, by result",
  "worker.connects_refused": "socket connections refused, by reason",
  "worker.messages_relayed": "messages taken from peers and relayed, by kind",
  "worker.messages_delivered": "messages delivered to peers",
  "worker.messages_dropped": "messages dropped, by reason",
  "worker.buffer_overflows":
    "buffers of peers that are away or read slowly that reached their limit",
  "worker.floods_slowed": "times a client that sent too much was not read for a while",
  "worker.requests_misdirected": "requests for a session that another worker owns, answered 421",
  "worker.credentials_refused": "requests for operators' pages with wrong credentials",
  "store.failures": "store operations that failed, by operation",
  "store.ignored": "values read from the store that made no sense and were ignored, by kind",
  "edge.restarts": "child processes started again after they ended unexpectedly, by role",
  "log.lines_dropped": "log lines that could not be written",
} as const;

export type CounterName = keyof typeof COUNTERS;

/** Counts of one process since its start. */
export interface Counters {
  /** Adds `by` (default 1) to a counter, in the series of `tag` when the counter has one. */
  count(name: CounterName, tag?: string, by?: number): void;
  /** One series; 0 when nothing was counted. Without a tag: the sum of all series of the counter. */
  value(name: CounterName, tag?: string): number;
  /** All series that are not 0, as `name` or `name{tag}`, sorted. */
  snapshot(): Record<string, number>;
}

/** Series of one counter beyond which tags are summed up as `other`, so that a bug cannot fill the memory. */
const MAX_TAGS = 64;

export function createCounters(): Counters {
  const seriesByName = new Map<CounterName, Map<string, number>>();

  return {
    count(name, tag = "", by = 1) {
      let series = seriesByName.get(name);
      if (series === undefined) {
        series = new Map();
        seriesByName.set(name, series);
      }
      const key = series.has(tag) || series.size < MAX_TAGS ? tag : "other";
      series.set(key, (series.get(key) ?? 0) + by);
    },
    value(name, tag) {
      const series = seriesByName.get(name);
      if (series === undefined) return 0;
      if (tag !== undefined) return series.get(tag) ?? 0;
      let sum = 0;
      for (const count of series.values()) sum += count;
      return sum;
    },
    snapshot() {
      const lines: [string, number][] = [];
      for (const [name, series] of seriesByName) {
        for (const [tag, count] of series)
          lines.push([tag === "" ? name : `${name}{${tag}}`, count]);
      }
      return Object.fromEntries(lines.sort(([a], [b]) => (a < b ? -1 : 1)));
    },
  };
}
