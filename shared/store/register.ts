/**
 * One text in the store that is replaced as a whole, and read by many: a stream has its parts, because one entry of a stream is
 * short. An append is atomic, so the parts of two writers do not mix; of two writes the later one counts.
 */
import { randomAlphanumerics } from "../base/ids.ts";
import type { Store } from "./store.ts";
import { MAX_STREAM_TEXT_CHARS, STREAMS, type StreamName } from "./streams.ts";

const REVISION_CHARS = 12;
const PART = /^([A-Za-z0-9]{12}) (\d{1,3})\/(\d{1,3}) (.*)$/s;
/** For the revision and the numbers before each part. */
const PART_HEAD_CHARS = 24;
const PART_CHARS = MAX_STREAM_TEXT_CHARS - PART_HEAD_CHARS;

export type Register = ReturnType<typeof createRegister>;

export function createRegister(
  stream: StreamName,
  store: Pick<Store, "appendToStream" | "readStream"> & {
    readonly deferred: Pick<Store, "readStream">;
  },
) {
  const { keep } = STREAMS[stream];
  /** Of the newest entry that was read. */
  let lastId: string | undefined;

  /** The text that was written last; undefined: none. */
  async function read(): Promise<string | undefined> {
    const entries = await store.readStream(stream, { limit: keep });
    lastId = entries.at(-1)?.id;
    return newestText(entries.map(({ text }) => text));
  }

  return {
    /** Throws on a text of more than half of what the stream keeps: the one before must stay readable meanwhile. */
    async write(text: string): Promise<void> {
      const parts = split(text);
      if (parts.length > keep / 2) {
        throw new Error(`a text of ${text.length} characters is too long for the stream ${stream}`);
      }
      await store.appendToStream(stream, parts);
    },
    read,
    /** Whether nothing was written, or it was lost. */
    async isEmpty(): Promise<boolean> {
      return (await store.readStream(stream, { limit: 1 })).length === 0;
    },
    /** As `read`; undefined when nothing was written since the last read, which is a small request that may be deferred. */
    async poll(): Promise<{ readonly text: string | undefined } | undefined> {
      if (lastId !== undefined) {
        const fresh = await store.deferred.readStream(stream, { after: lastId, limit: 1 });
        if (fresh.length === 0) return undefined;
      }
      return { text: await read() };
    },
  };
}

/** Pure. */
export function split(text: string): string[] {
  const revision = randomAlphanumerics(REVISION_CHARS);
  const count = Math.max(1, Math.ceil(text.length / PART_CHARS));
  return Array.from({ length: count }, (_, index) => {
    const part = text.slice(index * PART_CHARS, (index + 1) * PART_CHARS);
    return `${revision} ${index + 1}/${count} ${part}`;
  });
}

/** The newest complete text among the entries of a stream, oldest first. Pure. */
export function newestText(entries: readonly string[]): string | undefined {
  const partsOf = new Map<string, string[]>();
  let newest: string | undefined;
  for (const entry of entries) {
    const [, revision = "", number, count, part = ""] = PART.exec(entry) ?? [];
    // Parts come in order: without the ones before it, one is the rest of a text whose beginning the stream keeps no more.
    const parts = partsOf.get(revision) ?? [];
    if (Number(number) !== parts.length + 1) continue;
    parts.push(part);
    partsOf.set(revision, parts);
    if (parts.length === Number(count)) newest = parts.join("");
  }
  return newest;
}
