/**
 * What an operation did beyond its answer: the records that it changed, for the journal, and what it tells others, for
 * the change feed.
 */
import type { Change } from "../../store.ts";

/** One record's new value, as JSON, or undefined when it is gone. Keys: records.ts. */
export type Write = readonly [key: string, value: unknown];

export interface Effects {
  readonly write: (key: string, value: unknown) => void;
  readonly change: (change: Change) => void;
  /** Everything since the last call. */
  readonly take: () => { readonly writes: readonly Write[]; readonly changes: readonly Change[] };
}

export function createEffects(): Effects {
  let writes: Write[] = [];
  let changes: Change[] = [];
  return {
    write(key, value) {
      writes.push([key, value]);
    },
    change(change) {
      changes.push(change);
    },
    take() {
      const taken = { writes, changes };
      if (writes.length > 0) writes = [];
      if (changes.length > 0) changes = [];
      return taken;
    },
  };
}
