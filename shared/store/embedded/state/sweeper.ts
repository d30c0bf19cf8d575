/**
 * Visits a map a few entries at a time, so that dropping expired entries never blocks the store. Reads do not depend on it:
 * they check the expiry themselves.
 */

/** Takes well under a millisecond. */
const ENTRIES_PER_SWEEP = 500;

export interface Sweeper<V> {
  /** Calls `visit` for the next entries, which may delete any. Starts over after the last one. */
  sweep(visit: (value: V, key: string) => void): void;
}

export function createSweeper<K extends string, V>(map: ReadonlyMap<K, V>): Sweeper<V> {
  // A map's iterator survives deletions and reaches entries that were added meanwhile.
  let position = map.entries();
  return {
    sweep(visit) {
      for (let i = 0; i < ENTRIES_PER_SWEEP; i++) {
        const next = position.next();
        if (next.done === true) {
          position = map.entries();
          return;
        }
        visit(next.value[1], next.value[0]);
      }
    },
  };
}
