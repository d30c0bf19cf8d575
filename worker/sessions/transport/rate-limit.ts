/**
 * How fast one client may send: a token bucket. It never refuses; it says how long to stop reading, so that a flood is
 * slowed down at its source by TCP and costs the others nothing.
 */
import type { Clock } from "../../../shared/base/clock.ts";

export interface RateLimit {
  /** Counts one message. The time to stop reading, in ms; 0 when none is needed. */
  spend(): number;
  /** The time still to wait, in ms; 0 when reading may go on. */
  debtMs(): number;
}

/** Messages above the average that may come at once, in seconds of the average: a reconnected client sends what waited. */
const BURST_S = 2;
/**
 * Longest pause. What was read in one piece is processed in any case, so the debt may be larger; but a client that is
 * not heard of for 20 s is taken for dead by the heartbeat.
 */
const MAX_PAUSE_MS = 5000;

export function createRateLimit(needs: { clock: Clock; perSecond: number }): RateLimit {
  const { clock, perSecond } = needs;
  const most = perSecond * BURST_S;
  const least = -(perSecond * MAX_PAUSE_MS) / 1000;
  let tokens = most;
  let countedMs = clock.nowMs();

  function refill(): void {
    const nowMs = clock.nowMs();
    tokens = Math.min(most, tokens + ((nowMs - countedMs) * perSecond) / 1000);
    countedMs = nowMs;
  }

  function debtMs(): number {
    return tokens >= 0 ? 0 : Math.ceil((-tokens * 1000) / perSecond);
  }

  return {
    spend() {
      refill();
      tokens = Math.max(least, tokens - 1);
      return debtMs();
    },
    debtMs() {
      refill();
      return debtMs();
    },
  };
}
