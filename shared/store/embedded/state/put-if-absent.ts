/**
 * Values that are written once, in the embedded store.
 */

import { type Restored, recordKey } from "../format/records.ts";
import type { Effects, Write } from "./effects.ts";
import type { Operations } from "./operations.ts";

export interface PutIfAbsent extends Pick<Operations, "putIfAbsent"> {
  restore(record: Extract<Restored, { kind: "agreed" }>): void;
  /** All records, as journalled. */
  entries(): Iterable<Write>;
}

/** Without a limit: only our own code chooses the names. */
export function createPutIfAbsent(effects: Effects): PutIfAbsent {
  const values = new Map<string, string>();

  return {
    putIfAbsent(_now, name, proposal) {
      const stored = values.get(name);
      if (stored !== undefined) return stored;
      values.set(name, proposal);
      effects.write(recordKey.agreed(name), proposal);
      return proposal;
    },
    restore({ name, text }) {
      values.set(name, text);
    },
    *entries() {
      for (const [name, text] of values) yield [recordKey.agreed(name), text];
    },
  };
}
