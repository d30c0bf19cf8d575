/**
 * The logs that operators may read: the files of this machine, and what processes elsewhere put into the store's streams.
 * A log is named by its id, never by a path.
 */
import { type FileHandle, open, stat } from "node:fs/promises";
import { join } from "node:path";
import { type LogStreamName, parseLogText } from "../../shared/cluster/log-stream.ts";
import { escapeForTerminal } from "../../shared/logs/escape.ts";
import {
  type LogPiece,
  type LogPosition,
  readLogEnd,
  readLogFrom,
} from "../../shared/logs/log-tail.ts";
import { STREAMS, type Store } from "../../shared/store/store.ts";
import type { LogId, LogsResponse } from "./responses.ts";

export interface Logs {
  list(): Promise<LogsResponse>;
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

/** In a file, or, of a stream, the last entry. */
export type Position =
  | { readonly kind: "file"; readonly at: LogPosition }
  | { readonly kind: "stream"; readonly after: string | undefined };

const LOGS: Readonly<Record<LogId, { readonly file: string; readonly stream: LogStreamName }>> = {
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

  async function sizeOf(id: LogId): Promise<number | undefined> {
    const path = pathOf(id);
    if (path === undefined) return undefined;
    try {
      return (await stat(path)).size;
    } catch {
      return undefined;
    }
  }

  /** Without `after`, the newest. */
  async function readStream(id: LogId, limit: number, after?: string): Promise<Lines> {
    const query = after === undefined ? { limit } : { after, limit };
    const entries = await store.readStream(LOGS[id].stream, query);
    const next = entries.at(-1)?.id ?? after;
    return {
      lines: entries.map(({ text }) => sharedLine(text)),
      skipped: 0,
      next: { kind: "stream", after: next },
    };
  }

  function shownPiece({ lines, skipped, next }: LogPiece): Lines {
    const shown = lines.slice(-MAX_LINES).map((line) => escapeForTerminal(line, MAX_LINE_CHARS));
    return {
      lines: shown,
      skipped: skipped + lines.length - shown.length,
      next: { kind: "file", at: next },
    };
  }

  return {
    isLog: (id): id is LogId => IDS.some((known) => known === id),
    async list() {
      const logs = await Promise.all(
        IDS.map(async (id) => ({
          id,
          name: LOGS[id].file,
          bytes: (await sizeOf(id)) ?? null,
        })),
      );
      return { logs };
    },
    async tail(id, count) {
      const path = pathOf(id);
      const piece = path === undefined ? undefined : await readLogEnd(path, MAX_BYTES);
      if (piece === undefined)
        return readStream(id, Math.min(count, STREAMS[LOGS[id].stream].keep));
      const read = shownPiece(piece);
      return { ...read, lines: read.lines.slice(-count), skipped: 0 };
    },
    async follow(id, from) {
      if (from.kind === "stream") return readStream(id, MAX_LINES, from.after);
      const path = pathOf(id);
      const piece = path === undefined ? undefined : await readLogFrom(path, from.at, MAX_BYTES);
      return piece === undefined ? { lines: [], skipped: 0, next: from } : shownPiece(piece);
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

/** Lines of several processes are told apart by who wrote them. */
function sharedLine(text: string): string {
  const { source, line } = parseLogText(text);
  return escapeForTerminal(source === "" ? line : `${source} | ${line}`, MAX_LINE_CHARS);
}
