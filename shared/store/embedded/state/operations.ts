/**
 * The operations of the store's contract, as the parts of the embedded store implement them.
 */
import type { Store } from "../../store.ts";
import type { StoreTime } from "./time.ts";

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
