/**
 * Limits how fast clients are admitted. After a balancer or worker has died all its clients reconnect within a second or
 * two; a worker that admits thousands at once is slow for every client, so some wait a little. Pure.
 */
import type { Clock } from "../../../shared/base/clock.ts";

/** After a pause, as many as the rate allows in this time are admitted at once. */
const BURST_MS = 1000;
/**
 * Longest wait, even if the queue is longer: a peer that is not back within 30 s counts as gone, and a part of that has
 * passed before it connects.
 */
export const MAX_WAIT_MS = 10_000;

export function createAdmissionLimiter(deps: {
  readonly clock: Clock;
  readonly perSecond: number;
}) {
  const { clock } = deps;
  const gapMs = 1000 / deps.perSecond;
  /** When the last client in the queue is admitted. */
  let lastMs = clock.nowMs() - BURST_MS;

  return {
    /** Takes the next place in the queue. Returns how long to wait for it, in ms. */
    join(): number {
      const nowMs = clock.nowMs();
      lastMs = Math.min(Math.max(lastMs, nowMs - BURST_MS) + gapMs, nowMs + MAX_WAIT_MS);
      return Math.max(0, lastMs - nowMs);
    },
  };
}
