/**
 * Streams of texts, in the embedded store: what processes tell those who watch. Only those whose history counts are
 * journalled; log lines are in files on this machine anyway.
 */
import { STREAMS, type StreamEntry, type StreamName } from "../../store.ts";
import { type Restored, recordKey } from "../format/records.ts";
import type { Effects, Write } from "./effects.ts";
import type { Operations } from "./operations.ts";

export interface Streams extends Pick<Operations, "appendToStream" | "readStream"> {
  restore(record: Extract<Restored, { kind: "stream" }>): void;
  /** Every record as it stands in the journal. */
  entries(): Iterable<Write>;
}

interface Kept {
  /** By ordinal, oldest first. The journal is not told when the oldest goes: reading it back drops it again. */
  readonly texts: Map<number, string>;
  next: number;
}

export function createStreams(effects: Effects): Streams {
  const streams = new Map<StreamName, Kept>();

  function keptOf(stream: StreamName): Kept {
    const kept = streams.get(stream) ?? { texts: new Map<number, string>(), next: 1 };
    streams.set(stream, kept);
    return kept;
  }

  function keep(stream: StreamName, ordinal: number, text: string): void {
    const kept = keptOf(stream);
    kept.texts.set(ordinal, text);
    kept.next = Math.max(kept.next, ordinal + 1);
    const [oldest] = kept.texts.keys();
    if (kept.texts.size > STREAMS[stream].keep && oldest !== undefined) kept.texts.delete(oldest);
  }

  return {
    appendToStream(_now, stream, texts) {
      for (const text of texts) {
        const ordinal = keptOf(stream).next;
        keep(stream, ordinal, text);
        if (STREAMS[stream].lasting) effects.write(recordKey.stream(stream, ordinal), text);
      }
    },
    readStream(_now, stream, { after, limit }) {
      if (limit <= 0) return [];
      const { texts } = keptOf(stream);
      const entries: StreamEntry[] = [];
      const from = after === undefined ? Number.NEGATIVE_INFINITY : Number(after);
      for (const [ordinal, text] of texts) {
        if (ordinal > from) entries.push({ id: String(ordinal), text });
      }
      return after === undefined ? entries.slice(-limit) : entries.slice(0, limit);
    },
    restore({ stream, ordinal, text }) {
      keep(stream, ordinal, text);
    },
    *entries() {
      for (const [stream, { texts }] of streams) {
        if (!STREAMS[stream].lasting) continue;
        for (const [ordinal, text] of texts) yield [recordKey.stream(stream, ordinal), text];
      }
    },
  };
}
