/**
 * Streams of texts, in the embedded store. Those that last are journalled; log lines are in files on this machine anyway.
 */
import { STREAMS, type StreamEntry, type StreamName } from "../../streams.ts";
import { type Restored, recordKey } from "../format/records.ts";
import type { Effects, Write } from "./effects.ts";
import type { Operations } from "./operations.ts";

export interface Streams extends Pick<Operations, "appendToStream" | "readStream"> {
  restore(record: Extract<Restored, { kind: "stream" }>): void;
  /** All records, as journalled. */
  entries(): Iterable<Write>;
}

interface Stream {
  /** By ordinal, oldest first. Dropping the oldest is not journalled: reading the journal drops it again. */
  readonly texts: Map<number, string>;
  next: number;
}

export function createStreams(effects: Effects): Streams {
  const streams = new Map<StreamName, Stream>();

  function streamOf(name: StreamName): Stream {
    const stream = streams.get(name) ?? { texts: new Map<number, string>(), next: 1 };
    streams.set(name, stream);
    return stream;
  }

  function add(name: StreamName, ordinal: number, text: string): void {
    const stream = streamOf(name);
    stream.texts.set(ordinal, text);
    stream.next = Math.max(stream.next, ordinal + 1);
    const [oldest] = stream.texts.keys();
    if (stream.texts.size > STREAMS[name].keep && oldest !== undefined) stream.texts.delete(oldest);
  }

  return {
    appendToStream(_now, stream, texts) {
      for (const text of texts) {
        const ordinal = streamOf(stream).next;
        add(stream, ordinal, text);
        if (STREAMS[stream].lasting) effects.write(recordKey.stream(stream, ordinal), text);
      }
    },
    readStream(_now, stream, { after, limit }) {
      if (limit <= 0) return [];
      const { texts } = streamOf(stream);
      const entries: StreamEntry[] = [];
      // Ids of Redis are read too: `STREAM_START` is one.
      const from = after === undefined ? Number.NEGATIVE_INFINITY : Number.parseInt(after, 10);
      for (const [ordinal, text] of texts) {
        if (ordinal > from) entries.push({ id: String(ordinal), text });
      }
      return after === undefined ? entries.slice(-limit) : entries.slice(0, limit);
    },
    restore({ stream, ordinal, text }) {
      add(stream, ordinal, text);
    },
    *entries() {
      for (const [stream, { texts }] of streams) {
        if (!STREAMS[stream].lasting) continue;
        for (const [ordinal, text] of texts) yield [recordKey.stream(stream, ordinal), text];
      }
    },
  };
}
