/**
 * Goes round a map a few entries at a time, so that dropping what has expired never holds the store up. Reads do not
 * depend on it: they look at the time themselves.
 */

/** Entries looked at in one go: well under a millisecond. */
const ENTRIES_PER_SWEEP = 500;

export interface Sweeper<V> {
  /** Calls `visit` for the next entries; it may delete any. After the last one it starts again with the next call. */
  sweep(withStore: (value: V, key: string) => void): void;
}

export function createSweeper<K extends string, V>(map: ReadonlyMap<K, V>): Sweeper<V> {
  // A map's iterator survives deletions and comes to what was added meanwhile.
  let position = map.entries();
  return {
    sweep(withStore) {
      for (let i = 0; i < ENTRIES_PER_SWEEP; i++) {
        const next = position.next();
        if (next.done === true) {
          position = map.entries();
          return;
        }
        withStore(next.value[1], next.value[0]);
      }
    },
  };
}
