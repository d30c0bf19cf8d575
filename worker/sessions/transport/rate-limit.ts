/**
 * Rate limit of one client's messages: a token bucket. It refuses nothing; it tells how long to stop reading, so that TCP
 * slows a flood down at its source and other clients are not affected.
 */
import type { Clock } from "../../../shared/base/clock.ts";

export type RateLimit = ReturnType<typeof createRateLimit>;

/** Burst size, in seconds of the average rate: a reconnected client sends everything that waited. */
const BURST_S = 2;
/**
 * Longest pause. One chunk of input is processed whole, so the deficit may be larger; but after 20 s without input the
 * heartbeat closes the connection.
 */
const MAX_PAUSE_MS = 5000;

export function createRateLimit(deps: { clock: Clock; perSecond: number }) {
  const { clock, perSecond } = deps;
  const most = perSecond * BURST_S;
  const least = -(perSecond * MAX_PAUSE_MS) / 1000;
  let tokens = most;
  let countedMs = clock.nowMs();

  function refill(): void {
    const nowMs = clock.nowMs();
    tokens = Math.min(most, tokens + ((nowMs - countedMs) * perSecond) / 1000);
    countedMs = nowMs;
  }

  function waitMs(): number {
    return tokens >= 0 ? 0 : Math.ceil((-tokens * 1000) / perSecond);
  }

  return {
    /** Counts one message. Returns how long to stop reading, in ms; 0 to go on. */
    spend(): number {
      refill();
      tokens = Math.max(least, tokens - 1);
      return waitMs();
    },
    /** How long reading must still pause, in ms; 0 to go on. */
    waitMs(): number {
      refill();
      return waitMs();
    },
  };
}
