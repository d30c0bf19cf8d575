/**
 * Streams of texts, in the embedded store. Those that last are journalled; log lines are in files on this machine anyway.
 */
import { STREAM_START, STREAMS, type StreamEntry, type StreamName } from "../../streams.ts";
import { type Restored, recordKey } from "../format/records.ts";
import type { Effects, Write } from "./effects.ts";
import type { Operations } from "./operations.ts";

type Text = Omit<StreamEntry, "id">;

interface Stream {
  /** By ordinal, oldest first. Dropping the oldest is not journalled: reading the journal drops it again. */
  readonly texts: Map<number, Text>;
  next: number;
}

export function createStreams(effects: Effects) {
  const streams = new Map<StreamName, Stream>();

  function streamOf(name: StreamName): Stream {
    const stream = streams.get(name) ?? { texts: new Map<number, Text>(), next: 1 };
    streams.set(name, stream);
    return stream;
  }

  function add(name: StreamName, ordinal: number, text: Text): void {
    const stream = streamOf(name);
    stream.texts.set(ordinal, text);
    stream.next = Math.max(stream.next, ordinal + 1);
    const [oldest] = stream.texts.keys();
    if (stream.texts.size > STREAMS[name].keep && oldest !== undefined) stream.texts.delete(oldest);
  }

  const operations = {
    appendToStream(now, stream, texts) {
      for (const text of texts) {
        const ordinal = streamOf(stream).next;
        const entry = stream === "events" ? { text, atMs: now.wallMs } : { text };
        add(stream, ordinal, entry);
        if (STREAMS[stream].lasting) effects.write(...toWrite(stream, ordinal, entry));
      }
    },
    readStream(_now, stream, { after, limit }) {
      if (limit <= 0) return [];
      const { texts } = streamOf(stream);
      const entries: StreamEntry[] = [];
      const from = after === undefined ? Number.NEGATIVE_INFINITY : ordinalOf(after);
      for (const [ordinal, text] of texts) {
        if (ordinal > from) entries.push({ id: String(ordinal), ...text });
      }
      return after === undefined ? entries.slice(-limit) : entries.slice(0, limit);
    },
  } satisfies Partial<Operations>;

  return {
    operations,
    restore: (record: Restored<"stream" | "event">): void => {
      if (record.kind === "stream") {
        const [stream, ordinal] = record.ids;
        add(stream, ordinal, { text: record.value });
      } else {
        const { atMs, ...event } = record.value;
        add("events", record.ids[0], { text: JSON.stringify(event), atMs });
      }
    },
    /** All records, as journalled. */
    *entries(): Iterable<Write> {
      for (const [stream, { texts }] of streams) {
        if (!STREAMS[stream].lasting) continue;
        for (const [ordinal, text] of texts) yield toWrite(stream, ordinal, text);
      }
    },
  };
}

/** Ids of Redis are read too: `STREAM_START` is one, and the first event of an old journal has the ordinal 0. */
function ordinalOf(id: string): number {
  return id === STREAM_START ? Number.NEGATIVE_INFINITY : Number.parseInt(id, 10);
}

function toWrite(stream: StreamName, ordinal: number, { text, atMs }: Text): Write {
  if (stream !== "events") return [recordKey("stream", stream, ordinal), text];
  return [recordKey("event", ordinal), { ...JSON.parse(text), atMs }];
}
