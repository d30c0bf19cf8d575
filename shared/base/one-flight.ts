/** Calls that come while the same work is running: they share a run. */
import { getOrAdd } from "./grouping.ts";

/**
 * At most one run of `work` at a time: a call during a run gets the result, or the failure, of that run, whatever its arguments.
 */
export function oneFlight<Args extends readonly unknown[], T>(
  work: (...args: Args) => Promise<T>,
): (...args: Args) => Promise<T> {
  let running: Promise<T> | undefined;
  return (...args) => {
    running ??= work(...args).finally(() => {
      running = undefined;
    });
    return running;
  };
}

/** The same for each key on its own. */
export function oneFlightPerKey<Key, T>(work: (key: Key) => Promise<T>): (key: Key) => Promise<T> {
  const flights = new Map<Key, Promise<T>>();
  return (key) => getOrAdd(flights, key, () => work(key).finally(() => flights.delete(key)));
}

/**
 * For work of which a run may have begun too early for a call: calls during a run share one more run after it. Resolves when
 * no further run is due. Rejects with the failure of a run; then those that were due are left out.
 */
export function coalesced(work: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  let isDue = false;

  async function runWhileDue(): Promise<void> {
    try {
      do {
        isDue = false;
        await work();
      } while (isDue);
    } finally {
      // In the same step as the check of `isDue`: a call in between would be lost.
      running = undefined;
    }
  }

  return () => {
    isDue = true;
    running ??= runWhileDue();
    return running;
  };
}
