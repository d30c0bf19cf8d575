/**
 * Measures the delay and utilization of this process's event loop, so that balancers can choose the less busy worker and
 * operators see which process is at its limit.
 */
import { monitorEventLoopDelay, performance } from "node:perf_hooks";
import type { Clock } from "../base/clock.ts";

export type LoopLag = ReturnType<typeof watchLoopLag>;

export interface LoopDelay {
  readonly meanMs: number;
  /** 99th percentile of the delay in the worst second. */
  readonly p99Ms: number;
  readonly maxMs: number;
  /** Share of the time that the loop was busy, 0 to 1. */
  readonly utilization: number;
  /** CPU time of the process per time, all of its threads; 1 is one core. */
  readonly cpu: number;
}

const PERIOD_MS = 1000;
/** 10 s, the default interval of publishing metrics. */
const RECENT_PERIODS = 10;
/** Time between two samples; a shorter one would itself keep the loop busy. Samples include it, so it is subtracted. */
const RESOLUTION_MS = 20;
const NS_PER_MS = 1e6;
const US_PER_MS = 1e3;

export function watchLoopLag(clock: Clock) {
  const delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delays.enable();
  let lastUse = performance.eventLoopUtilization();
  let lastCpu = process.cpuUsage();
  let lastMs = clock.nowMs();
  /** Oldest first. */
  const seconds: LoopDelay[] = [];
  const period = clock.every(PERIOD_MS, () => {
    const use = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(use, lastUse);
    lastUse = use;
    const cpu = process.cpuUsage(lastCpu);
    const passedMs = Math.max(1, clock.nowMs() - lastMs);
    lastCpu = process.cpuUsage();
    lastMs = clock.nowMs();
    seconds.push({
      meanMs: beyondResolution(delays.mean),
      p99Ms: beyondResolution(delays.percentile(99)),
      maxMs: beyondResolution(delays.max),
      utilization: Number.isFinite(utilization) ? utilization : 0,
      cpu: (cpu.user + cpu.system) / US_PER_MS / passedMs,
    });
    if (seconds.length > RECENT_PERIODS) seconds.shift();
    delays.reset();
  });
  return {
    /** Mean delay in ms over the last full second; 0 during the first. */
    get meanMs(): number {
      return seconds.at(-1)?.meanMs ?? 0;
    },
    /** The last 10 s. */
    get recent(): LoopDelay {
      return summarize(seconds);
    },
    close(): void {
      period.cancel();
      delays.disable();
    },
  };
}

function summarize(seconds: readonly LoopDelay[]): LoopDelay {
  const meanOf = (values: number[]): number =>
    values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
  return {
    meanMs: rounded(meanOf(seconds.map(({ meanMs }) => meanMs))),
    p99Ms: Math.max(0, ...seconds.map(({ p99Ms }) => p99Ms)),
    maxMs: Math.max(0, ...seconds.map(({ maxMs }) => maxMs)),
    utilization: rounded(meanOf(seconds.map(({ utilization }) => utilization))),
    cpu: rounded(meanOf(seconds.map(({ cpu }) => cpu))),
  };
}

/** The mean is NaN without samples. */
function beyondResolution(ns: number): number {
  const ms = ns / NS_PER_MS - RESOLUTION_MS;
  return ms > 0 && Number.isFinite(ms) ? rounded(ms) : 0;
}

function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}
