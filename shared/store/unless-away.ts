/** Work that a store that is away must not make fail. */
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

/** The result of `work`; undefined when the store is away. Rejects with any other failure. */
export async function unlessAway<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof StoreAwayError) return undefined;
    throw error;
  }
}
