/**
 * The operations of the store's contract, as the parts of the embedded store implement them.
 */
import type { Clock } from "../../../base/clock.ts";
import type { Store } from "../../store.ts";

export type Operation = Exclude<
  keyof Store,
  "health" | "localAddress" | "onHealth" | "onChange" | "deferred" | "stopDeferring" | "close"
>;

/** Synchronous, with the store's time as first argument. */
export type Operations = {
  readonly [Name in Operation]: (
    now: StoreTime,
    ...args: Parameters<Store[Name]>
  ) => Awaited<ReturnType<Store[Name]>>;
};

/** The time of the embedded store, on two clocks. */
export interface StoreTime {
  /** The store's time: timestamps, epochs and all that outlives a restart of the store. */
  readonly wallMs: number;
  /** Monotonic, for leases: setting the wall clock forward must not end them all at once. */
  readonly nowMs: number;
}

export function readTime(clock: Clock): StoreTime {
  return { wallMs: Math.floor(clock.wallMs()), nowMs: clock.nowMs() };
}
