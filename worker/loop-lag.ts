/**
 * How late this process's event loop is, so that balancers can choose the less busy worker.
 */
import { monitorEventLoopDelay } from "node:perf_hooks";
import type { Clock } from "../shared/clock.ts";

export interface LoopLag {
  /** Mean delay in ms over the last full second; 0 before the first. */
  readonly meanMs: number;
  close(): void;
}

const PERIOD_MS = 1000;
/** Time between two samples. They measure it too, so it is subtracted. */
const RESOLUTION_MS = 20;
const NS_PER_MS = 1e6;

export function watchLoopLag(clock: Clock): LoopLag {
  const delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delays.enable();
  let meanMs = 0;
  const period = clock.every(PERIOD_MS, () => {
    const sampledMs = delays.mean / NS_PER_MS - RESOLUTION_MS;
    delays.reset();
    // Without a sample the mean is NaN.
    meanMs = sampledMs > 0 ? Math.round(sampledMs * 100) / 100 : 0;
  });
  return {
    get meanMs() {
      return meanMs;
    },
    close() {
      period.cancel();
      delays.disable();
    },
  };
}
