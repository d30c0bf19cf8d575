/**
 * Streams of texts, in Redis.
 */
import type { Store } from "../../store.ts";
import {
  isStreamText,
  MAX_STREAM_TEXT_CHARS,
  STREAMS,
  type StreamEntry,
  type StreamName,
} from "../../streams.ts";
import type { Runner } from "../connection/connection.ts";
import { limited } from "../values/arguments.ts";
import type { Ignored } from "../values/ignored.ts";
import { expectReply, pairsOf, repliesSchema } from "../values/replies.ts";

const ENTRY_ID = /^\d{1,20}-\d{1,20}$/;

/** A UTF-16 unit takes at most three bytes in UTF-8; readers accept more (`MAX_VALUE_BYTES`). */
const MAX_TEXT_BYTES = 3 * MAX_STREAM_TEXT_CHARS;

export function createStreams(connection: Runner, ignored: Ignored) {
  const readStream: Store["readStream"] = async (stream, { after, limit }) => {
    if (limit <= 0 || (after !== undefined && !ENTRY_ID.test(after))) return [];
    const wanted = String(Math.min(limit, STREAMS[stream].keep));
    const reply = await connection.run("readStream", stream, after ?? "", wanted);
    const pairs = pairsOf(expectReply(repliesSchema, reply));
    const entries = pairs.flatMap(([id, text]) => toEntry(stream, id, text) ?? []);
    ignored.count(stream === "events" ? "event" : "entry", pairs.length - entries.length);
    const lastId = pairs.at(-1)?.[0];
    const isEnd = entries.length > 0 || after === undefined || lastId === undefined;
    // An empty page means the end of the stream, so one without a valid entry is skipped.
    return isEnd ? entries : await readStream(stream, { after: lastId, limit });
  };

  return {
    async appendToStream(stream, texts) {
      if (texts.length === 0) return;
      const checked = texts.map((text) => limited("an entry", text, MAX_TEXT_BYTES));
      const keep = String(STREAMS[stream].keep);
      await connection.run("appendToStream", stream, keep, ...checked);
    },
    readStream,
  } satisfies Partial<Store>;
}

/** An id begins with the store's time. */
function toEntry(stream: StreamName, id: string, text: string): StreamEntry | undefined {
  if (!ENTRY_ID.test(id) || text === "") return undefined;
  if (stream !== "events") return { id, text };
  return isStreamText(stream, text) ? { id, text, atMs: Number.parseInt(id, 10) } : undefined;
}
