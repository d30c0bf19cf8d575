/**
 * The effects of an operation besides its result: changed records for the journal, and changes for the feed.
 */
import type { Change } from "../../store.ts";

/** A record's new value, or undefined when it is deleted. Keys: format/records.ts. */
export type Write = readonly [key: string, value: unknown];

export interface Effects {
  readonly write: (key: string, value: unknown) => void;
  readonly change: (change: Change) => void;
  /** All effects since the last call. */
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
