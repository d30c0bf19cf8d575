/**
 * Counters, in the embedded store.
 */
import { type Restored, recordKey } from "../format/records.ts";
import type { Effects } from "./effects.ts";
import type { Operations } from "./operations.ts";
import { createTable } from "./table.ts";

/** More names are not counted: some contain client input (a version, a page). */
const MAX_COUNTERS = 10_000;

export function createStoredCounters(effects: Effects) {
  const table = createTable<number>({ effects, keyOf: (name) => recordKey("counter", name) });

  const operations = {
    addToCounters(_now, increments) {
      for (const [name, by] of Object.entries(increments)) {
        const count = table.values.get(name);
        if (count !== undefined || table.values.size < MAX_COUNTERS) {
          table.set(name, (count ?? 0) + by);
        }
      }
    },
    readCounters(_now, prefix) {
      return Object.fromEntries([...table.values].filter(([name]) => name.startsWith(prefix)));
    },
  } satisfies Partial<Operations>;

  return {
    operations,
    restore: ({ ids: [name], value }: Restored<"counter">) => table.restore(name, value),
    entries: table.entries,
  };
}
