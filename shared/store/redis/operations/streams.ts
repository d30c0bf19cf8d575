/**
 * Streams of texts, in Redis.
 */
import type { Store } from "../../store.ts";
import { MAX_STREAM_TEXT_CHARS, STREAMS } from "../../streams.ts";
import type { Runner } from "../connection/connection.ts";
import { limited } from "../values/arguments.ts";
import type { Ignored } from "../values/ignored.ts";
import { expectReply, pairsOf, repliesSchema } from "../values/replies.ts";

const ENTRY_ID = /^\d{1,20}-\d{1,20}$/;

/** A UTF-16 unit takes at most three bytes in UTF-8; readers accept more (`MAX_VALUE_BYTES`). */
const MAX_TEXT_BYTES = 3 * MAX_STREAM_TEXT_CHARS;

export function createStreams(
  connection: Runner,
  ignored: Ignored,
): Pick<Store, "appendToStream" | "readStream"> {
  return {
    async appendToStream(stream, texts) {
      if (texts.length === 0) return;
      const checked = texts.map((text) => limited("an entry", text, MAX_TEXT_BYTES));
      const keep = String(STREAMS[stream].keep);
      await connection.run("appendToStream", "append_to_stream", stream, keep, ...checked);
    },
    async readStream(stream, { after, limit }) {
      if (limit <= 0 || (after !== undefined && !ENTRY_ID.test(after))) return [];
      const wanted = String(Math.min(limit, STREAMS[stream].keep));
      const reply = await connection.run("readStream", "read_stream", stream, after ?? "", wanted);
      const pairs = pairsOf(expectReply(repliesSchema, reply));
      const entries = pairs.filter(([id, text]) => ENTRY_ID.test(id) && text !== "");
      ignored.count("entry", pairs.length - entries.length);
      return entries.map(([id, text]) => ({ id, text }));
    },
  };
}
