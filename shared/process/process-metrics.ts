/** Gauges of every balancer and worker: its event loop, its memory, and whether it reaches the store. */
import type { LoopLag } from "../metrics/loop-lag.ts";
import type { Counters } from "../metrics/metrics.ts";
import type { StoreHealth } from "../store/store.ts";

export function measureProcess(deps: {
  readonly counters: Pick<Counters, "gauge">;
  readonly lag: Pick<LoopLag, "recent">;
  readonly storeHealth: () => StoreHealth | undefined;
}): void {
  const { counters, lag } = deps;
  counters.gauge("process.lag.average", () => lag.recent.meanMs);
  counters.gauge("process.lag.p99", () => lag.recent.p99Ms);
  counters.gauge("process.lag.max", () => lag.recent.maxMs);
  counters.gauge("process.elu", () => lag.recent.utilization);
  counters.gauge("process.rss_bytes", () => process.memoryUsage.rss());
  counters.gauge("store.up", () => {
    const health = deps.storeHealth();
    if (health === undefined) return undefined;
    return health.state === "up" ? 1 : 0;
  });
}
