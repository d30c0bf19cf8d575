/**
 * The operations of the store's contract, as the embedded store's parts fulfil them.
 */
import type { Store } from "../../store.ts";
import type { StoreTime } from "./time.ts";

/** Names of the operations. */
export type Operation = Exclude<
  keyof Store,
  "health" | "localAddress" | "onHealth" | "onChange" | "close"
>;

/** The operations with the store's time as their first argument, answered at once. */
export type Operations = {
  readonly [Name in Operation]: (
    now: StoreTime,
    ...args: Parameters<Store[Name]>
  ) => Awaited<ReturnType<Store[Name]>>;
};
