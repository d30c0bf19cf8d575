/**
 * The embedded store's time: two readings, because they answer different questions.
 */
import type { Clock } from "../../../base/clock.ts";

export interface StoreTime {
  /** What the store calls its time: stamps, epochs and everything that must outlive a restart of the store. */
  readonly wallMs: number;
  /** For leases, which end with the process anyway: a wall clock that is set forward must not end them all at once. */
  readonly nowMs: number;
}

export function readTime(clock: Clock): StoreTime {
  return { wallMs: Math.floor(clock.wallMs()), nowMs: clock.nowMs() };
}
