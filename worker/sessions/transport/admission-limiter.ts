/**
 * How fast people are let into sessions. After a balancer or a worker has died they all come back within a second or two:
 * who waits here is connected a little later, but a worker that admits thousands at once is late for everybody. Pure.
 */
import type { Clock } from "../../../shared/base/clock.ts";

export interface AdmissionLimiter {
  /** Joins the line; how long to wait until it is one's turn, in ms, 0 when nobody is before. */
  join(): number;
}

/** As many as pass in so long may pass at once, when nobody did before. */
const BURST_MS = 1000;
/**
 * Nobody waits longer, also when the line is: who is not back within 30 s is taken to have left, and some of that has
 * passed when a connection comes.
 */
export const MAX_WAIT_MS = 10_000;

export function createAdmissionLimiter(needs: {
  readonly clock: Clock;
  readonly perSecond: number;
}): AdmissionLimiter {
  const { clock } = needs;
  const gapMs = 1000 / needs.perSecond;
  /** When the last one passes. */
  let lastMs = clock.nowMs() - BURST_MS;

  return {
    join() {
      const nowMs = clock.nowMs();
      lastMs = Math.min(Math.max(lastMs, nowMs - BURST_MS) + gapMs, nowMs + MAX_WAIT_MS);
      return Math.max(0, lastMs - nowMs);
    },
  };
}
