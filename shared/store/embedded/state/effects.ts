/**
 * The effects of an operation besides its result: changed records for the journal, and changes for the feed.
 */
import type { Change } from "../../store.ts";

/** A record's new value, or undefined when it is deleted. Keys: format/records.ts. */
export type Write = readonly [key: string, value: unknown];

export type Effects = ReturnType<typeof createEffects>;

export function createEffects() {
  let writes: Write[] = [];
  let changes: Change[] = [];
  return {
    write(key: string, value: unknown): void {
      writes.push([key, value]);
    },
    change(change: Change): void {
      changes.push(change);
    },
    /** All effects since the last call. */
    take: (): { readonly writes: readonly Write[]; readonly changes: readonly Change[] } => {
      const taken = { writes, changes };
      if (writes.length > 0) writes = [];
      if (changes.length > 0) changes = [];
      return taken;
    },
  };
}
