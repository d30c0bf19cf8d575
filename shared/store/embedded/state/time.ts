/**
 * The time of the embedded store, on two clocks.
 */
import type { Clock } from "../../../base/clock.ts";

export interface StoreTime {
  /** The store's time: timestamps, epochs and all that outlives a restart of the store. */
  readonly wallMs: number;
  /** Monotonic, for leases: setting the wall clock forward must not end them all at once. */
  readonly nowMs: number;
}

export function readTime(clock: Clock): StoreTime {
  return { wallMs: Math.floor(clock.wallMs()), nowMs: clock.nowMs() };
}
