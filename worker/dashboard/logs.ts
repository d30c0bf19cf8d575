/**
 * The logs that operators may read: the files of this machine, and what processes elsewhere put into the store's streams.
 * A log is named by its id, never by a path.
 */
import { type FileHandle, open, stat } from "node:fs/promises";
import { join } from "node:path";
import { harmless } from "../../shared/harmless.ts";
import type { Store, StreamName } from "../../shared/store/store.ts";
import type { LogId, LogsAnswer } from "./answers.ts";

export interface Logs {
  list(): Promise<LogsAnswer>;
  isLog(id: string): id is LogId;
  /** The newest lines, oldest first, and how to read on. */
  tail(id: LogId, count: number): Promise<Lines>;
  /** What came since. At most 1 MiB at a time; more is skipped, its lines counted. */
  follow(id: LogId, from: Position): Promise<Lines>;
  /** The file, to be sent whole; undefined when this machine has none. Close it. */
  openFile(id: LogId): Promise<FileHandle | undefined>;
}

export interface Lines {
  readonly lines: readonly string[];
  readonly skipped: number;
  readonly next: Position;
}

/** Of a file: which one it is, and the bytes that were read; of a stream: the last entry. */
export type Position =
  | { readonly kind: "file"; readonly inode: number; readonly offset: number }
  | { readonly kind: "stream"; readonly after: string | undefined };

const LOGS: Readonly<Record<LogId, { readonly file: string; readonly stream: StreamName }>> = {
  server: { file: "server.log", stream: "log-server" },
  access: { file: "access.log", stream: "log-access" },
  error: { file: "error.log", stream: "log-error" },
};
const IDS = Object.keys(LOGS) as LogId[];

/** Bytes of a file that are read at a time (contract: the viewer is limited to 1 MiB and 1,000 lines). */
const MAX_BYTES = 1024 * 1024;
const MAX_LINES = 1000;
/** A longer line is cut: one of a megabyte would only hide the others. */
const MAX_LINE_CHARS = 4096;

/** `folder`: CT_LOG_DIR, where the processes of this machine write; undefined: they write no files. */
export function createLogs(needs: {
  readonly folder: string | undefined;
  readonly store: Pick<Store, "readStream">;
}): Logs {
  const { folder, store } = needs;

  function pathOf(id: LogId): string | undefined {
    return folder === undefined ? undefined : join(folder, LOGS[id].file);
  }

  async function sizeOf(id: LogId): Promise<{ size: number; inode: number } | undefined> {
    const path = pathOf(id);
    if (path === undefined) return undefined;
    try {
      const { size, ino } = await stat(path);
      return { size, inode: ino };
    } catch {
      return undefined;
    }
  }

  async function readStream(id: LogId, after: string | undefined): Promise<Lines> {
    const { stream } = LOGS[id];
    const query = after === undefined ? { limit: MAX_LINES } : { after, limit: MAX_LINES };
    const entries = await store.readStream(stream, query);
    const next = entries.at(-1)?.id ?? after;
    return {
      lines: entries.map(({ text }) => harmless(text, MAX_LINE_CHARS)),
      skipped: 0,
      next: { kind: "stream", after: next },
    };
  }

  async function readFile(id: LogId, from: number, size: number, inode: number): Promise<Lines> {
    const start = Math.max(from, size - MAX_BYTES);
    const file = await open(pathOf(id) ?? "", "r");
    try {
      const buffer = Buffer.alloc(size - start);
      const { bytesRead } = await file.read(buffer, 0, buffer.length, start);
      const text = buffer.subarray(0, bytesRead);
      const end = text.lastIndexOf(0x0a) + 1;
      let whole = text.subarray(0, end);
      // In the middle of a file the first line is the rest of one.
      if (start > from) whole = whole.subarray(whole.indexOf(0x0a) + 1);
      const lines = whole.toString("utf8").split("\n").slice(0, -1);
      const shown = lines.slice(-MAX_LINES).map((line) => harmless(line, MAX_LINE_CHARS));
      const skipped = from > 0 ? lines.length - shown.length + (start > from ? 1 : 0) : 0;
      return { lines: shown, skipped, next: { kind: "file", inode, offset: start + end } };
    } finally {
      await file.close();
    }
  }

  return {
    isLog: (id): id is LogId => IDS.some((known) => known === id),
    async list() {
      const logs = await Promise.all(
        IDS.map(async (id) => ({
          id,
          name: LOGS[id].file,
          bytes: (await sizeOf(id))?.size ?? null,
        })),
      );
      return { logs };
    },
    async tail(id, count) {
      const file = await sizeOf(id);
      if (file === undefined) return readStream(id, undefined);
      const read = await readFile(id, 0, file.size, file.inode);
      return { ...read, lines: read.lines.slice(-count), skipped: 0 };
    },
    async follow(id, from) {
      const file = await sizeOf(id);
      if (from.kind === "stream") return readStream(id, from.after);
      if (file === undefined) return { lines: [], skipped: 0, next: from };
      // Another file of that name, or one that was emptied: it is read from its beginning.
      const isSame = file.inode === from.inode && file.size >= from.offset;
      const offset = isSame ? from.offset : 0;
      if (file.size === offset)
        return { lines: [], skipped: 0, next: { ...from, inode: file.inode, offset } };
      return readFile(id, offset, file.size, file.inode);
    },
    async openFile(id) {
      const path = pathOf(id);
      try {
        return path === undefined ? undefined : await open(path, "r");
      } catch {
        return undefined;
      }
    },
  };
}
