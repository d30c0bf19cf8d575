/**
 * What the edge agrees on, in the embedded store: texts that are kept under a name once and for good.
 */

import { type Restored, recordKey } from "../format/records.ts";
import type { Effects, Write } from "./effects.ts";
import type { Operations } from "./operations.ts";

export interface PutIfAbsent extends Pick<Operations, "putIfAbsent"> {
  restore(record: Extract<Restored, { kind: "agreed" }>): void;
  /** Every record as it stands in the journal. */
  entries(): Iterable<Write>;
}

/** All names are ours, so there are few. */
export function createPutIfAbsent(effects: Effects): PutIfAbsent {
  const texts = new Map<string, string>();

  return {
    putIfAbsent(_now, name, proposal) {
      const kept = texts.get(name);
      if (kept !== undefined) return kept;
      texts.set(name, proposal);
      effects.write(recordKey.agreed(name), proposal);
      return proposal;
    },
    restore({ name, text }) {
      texts.set(name, text);
    },
    *entries() {
      for (const [name, text] of texts) yield [recordKey.agreed(name), text];
    },
  };
}
