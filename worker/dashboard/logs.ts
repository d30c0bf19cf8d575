/**
 * The logs for operators: the files of this machine, or, without files, the streams to which processes log in the store.
 * Requests name a log by its id, never by a path.
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
import type { Store } from "../../shared/store/store.ts";
import { STREAMS } from "../../shared/store/streams.ts";
import type { LogId, LogsResponse } from "./responses.ts";

export type Logs = ReturnType<typeof createLogs>;

export interface Lines {
  readonly lines: readonly string[];
  readonly skipped: number;
  readonly next: Position;
}

/** A position in a file, or the last entry read from a stream. */
export type Position =
  | { readonly kind: "file"; readonly at: LogPosition }
  | { readonly kind: "stream"; readonly after: string | undefined };

const LOGS: Readonly<Record<LogId, { readonly file: string; readonly stream: LogStreamName }>> = {
  server: { file: "server.log", stream: "log-server" },
  access: { file: "access.log", stream: "log-access" },
  error: { file: "error.log", stream: "log-error" },
};
const IDS = Object.keys(LOGS) as LogId[];

/** Per read (contract: the viewer is limited to 1 MiB and 1,000 lines). */
const MAX_BYTES = 1024 * 1024;
const MAX_LINES = 1000;
/** Longer lines are truncated: one of a megabyte would hide all others. */
const MAX_LINE_CHARS = 4096;

/** `folder`: CT_LOG_DIR; undefined when the processes of this machine write no files. */
export function createLogs(deps: {
  readonly folder: string | undefined;
  readonly store: Pick<Store, "readStream">;
}) {
  const { folder, store } = deps;

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

  /** Without `after`, the newest lines. */
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

  function toLines({ lines, skipped, next }: LogPiece): Lines {
    const shown = lines.slice(-MAX_LINES).map((line) => escapeForTerminal(line, MAX_LINE_CHARS));
    return {
      lines: shown,
      skipped: skipped + lines.length - shown.length,
      next: { kind: "file", at: next },
    };
  }

  return {
    isLog: (id: string): id is LogId => IDS.some((logId) => logId === id),
    async list(): Promise<LogsResponse> {
      const logs = await Promise.all(
        IDS.map(async (id) => ({
          id,
          name: LOGS[id].file,
          bytes: (await sizeOf(id)) ?? null,
        })),
      );
      return { logs };
    },
    /** The newest lines, oldest first, and the position after them. */
    async tail(id: LogId, count: number): Promise<Lines> {
      const path = pathOf(id);
      const piece = path === undefined ? undefined : await readLogEnd(path, MAX_BYTES);
      if (piece === undefined)
        return readStream(id, Math.min(count, STREAMS[LOGS[id].stream].keep));
      const read = toLines(piece);
      return { ...read, lines: read.lines.slice(-count), skipped: 0 };
    },
    /** The lines since `from`. At most 1 MiB per call; more is skipped and its lines are counted. */
    async follow(id: LogId, from: Position): Promise<Lines> {
      if (from.kind === "stream") return readStream(id, MAX_LINES, from.after);
      const path = pathOf(id);
      const piece = path === undefined ? undefined : await readLogFrom(path, from.at, MAX_BYTES);
      return piece === undefined ? { lines: [], skipped: 0, next: from } : toLines(piece);
    },
    /** The whole file; undefined when this machine has none. The caller closes it. */
    async openFile(id: LogId): Promise<FileHandle | undefined> {
      const path = pathOf(id);
      try {
        return path === undefined ? undefined : await open(path, "r");
      } catch {
        return undefined;
      }
    },
  };
}

function sharedLine(text: string): string {
  const { source, line } = parseLogText(text);
  return escapeForTerminal(source === "" ? line : `${source} | ${line}`, MAX_LINE_CHARS);
}
