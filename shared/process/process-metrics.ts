/** Metrics of every balancer and worker: its event loop, its memory and CPU, and whether it reaches the store. */
import type { LoopLag } from "../metrics/loop-lag.ts";
import type { Counters } from "../metrics/metrics.ts";
import type { StoreHealth } from "../store/store.ts";

/** Constant, although the machine's clock may be set: a change would look like a restart. */
const STARTED_MS = Math.round(performance.timeOrigin);

export function measureProcess(deps: {
  readonly counters: Pick<Counters, "gauge" | "count" | "beforeRead">;
  readonly lag: Pick<LoopLag, "recent">;
  readonly storeHealth: () => StoreHealth | undefined;
}): void {
  const { counters, lag } = deps;
  counters.gauge("process.lag.average", () => lag.recent.meanMs);
  counters.gauge("process.lag.p99", () => lag.recent.p99Ms);
  counters.gauge("process.lag.max", () => lag.recent.maxMs);
  counters.gauge("process.elu", () => lag.recent.utilization);
  counters.gauge("process.rss_bytes", () => process.memoryUsage.rss());
  counters.gauge("process.start_time_ms", () => STARTED_MS);
  counters.beforeRead(countCpu(counters));
  counters.gauge("store.up", () => {
    const health = deps.storeHealth();
    if (health === undefined) return undefined;
    return health.state === "up" ? 1 : 0;
  });
}

/** Counts the whole milliseconds on the CPU since the last call. */
function countCpu(counters: Pick<Counters, "count">): () => void {
  let countedMs = 0;
  return () => {
    const { user, system } = process.cpuUsage();
    const spentMs = Math.floor((user + system) / 1000);
    counters.count("process.cpu_ms", "", spentMs - countedMs);
    countedMs = spentMs;
  };
}
