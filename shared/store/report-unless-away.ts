/** Failures of work that is done again anyway. */
import type { Log } from "../logs/log.ts";
import { StoreAwayError } from "./store.ts";

/**
 * Logs each error that it is called with. One of a store that is away is not logged: the store's client does that, and the work is
 * done when it is back.
 */
export function reportUnlessAway(
  log: Pick<Log, "error">,
  message: string,
  fields: Readonly<Record<string, unknown>> = {},
): (error: unknown) => void {
  return (error) => {
    if (!(error instanceof StoreAwayError)) log.error({ ...fields, err: error }, message);
  };
}
