/**
 * How late this process's event loop is and how busy, so that balancers can choose the less busy worker and operators see
 * which process is at its limit.
 */
import { monitorEventLoopDelay, performance } from "node:perf_hooks";
import type { Clock } from "./clock.ts";

/** Of the last full second; 0 before the first. */
export interface LoopLag {
  /** Mean delay in ms. */
  readonly meanMs: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  /** Share of the time in which the loop was busy, 0 to 1. */
  readonly utilization: number;
  close(): void;
}

const PERIOD_MS = 1000;
/** Time between two samples; a shorter one keeps the loop busy by itself. They measure it too, so it is subtracted. */
const RESOLUTION_MS = 20;
const NS_PER_MS = 1e6;

export function watchLoopLag(clock: Clock): LoopLag {
  const delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delays.enable();
  let lastUse = performance.eventLoopUtilization();
  let last = { meanMs: 0, p99Ms: 0, maxMs: 0, utilization: 0 };
  const period = clock.every(PERIOD_MS, () => {
    const use = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(use, lastUse);
    lastUse = use;
    last = {
      meanMs: beyondResolution(delays.mean),
      p99Ms: beyondResolution(delays.percentile(99)),
      maxMs: beyondResolution(delays.max),
      utilization: Number.isFinite(utilization) ? Math.round(utilization * 1000) / 1000 : 0,
    };
    delays.reset();
  });
  return {
    get meanMs() {
      return last.meanMs;
    },
    get p99Ms() {
      return last.p99Ms;
    },
    get maxMs() {
      return last.maxMs;
    },
    get utilization() {
      return last.utilization;
    },
    close() {
      period.cancel();
      delays.disable();
    },
  };
}

/** Two decimals. Without a sample the mean is NaN. */
function beyondResolution(ns: number): number {
  const ms = ns / NS_PER_MS - RESOLUTION_MS;
  return ms > 0 && Number.isFinite(ms) ? Math.round(ms * 100) / 100 : 0;
}
