/**
 * A log file that is rotated by size and day. It never blocks and never fails its callers: lines that a full or slow disk
 * does not take are dropped and counted, and memory is bounded. No line is split across files.
 */
import { closeSync, fstat, fstatSync, openSync, type Stats, write, writeSync } from "node:fs";
import type { Clock, Timer } from "../base/clock.ts";
import { dayEndMs, LOG_FILE_MODE, type LogLimits, openToAppend, startNewFile } from "./rotation.ts";

export interface LineFile {
  /**
   * Appends pending and future lines to `path` instead of the current file. Throws if it cannot be opened; then the current
   * file stays in use. Without limits the file is never rotated.
   */
  open(path: string, limits?: LogLimits): void;
  /** Writes a line, which ends with a line feed. Very long lines are cut. */
  write(line: string): void;
  /** Returns the number of lines dropped since the last call, so that the caller can log it. */
  takeDropped(): number;
  /** The last error of a write or a rotation, if there was one. */
  lastProblem(): unknown;
  /** Resolves when every line written so far is in the file or was dropped. */
  flush(): Promise<void>;
  /** Writes pending lines synchronously and closes the file, for the exit of the process. */
  close(): void;
}

/** Most characters that wait for the disk, including those being written; further lines are dropped. */
const MAX_PENDING_CHARS = 8 * 1024 * 1024;
/** Longer lines are cut. Shorter than the smallest size limit of a file, so that each line fits into one. */
const MAX_LINE_CHARS = 16 * 1024;
/** Most UTF-8 bytes per UTF-16 unit. */
const MAX_BYTES_PER_CHAR = 3;
const RETRY_MS = 10_000;

interface OpenFile {
  readonly path: string;
  readonly descriptor: number;
  readonly inode: number;
  /** Undefined: the file is not rotated. */
  readonly limits: LogLimits | undefined;
  /** Its size before the last write. It is read from the system, because logrotate's copytruncate empties the file. */
  size: number;
  /** Wall time at which the day of its first lines ends. */
  dayEndsMs: number;
  /** No program can read what is written to it any more. */
  isDeleted: boolean;
}

/** `checking`: reads the file's size, because other programs change the file too. Only one of these runs at a time. */
type State = "idle" | "checking" | "writing" | "rotating";

/**
 * `gatherMs`: how long a line waits for others, so that many lines cost one system call. Without it the first line is written
 * immediately.
 */
export function createLineFile(options: { clock: Clock; gatherMs?: number }): LineFile {
  const { clock, gatherMs } = options;
  let file: OpenFile | undefined;
  let state: State = "idle";
  let isClosed = false;
  const queue = new LineQueue();
  let writingChars = 0;
  let retryRotationMs = Number.NEGATIVE_INFINITY;
  let gathering: Timer | undefined;
  let dropped = 0;
  let problem: unknown;
  let onFlushed: (() => void)[] = [];
  /** Descriptors of files that were replaced during a write to them. */
  let outdated: number[] = [];

  /** Checks the file, then rotates it or writes the next batch, until the queue is empty. */
  function drain(): void {
    if (state !== "idle") return;
    const target = file;
    if (target === undefined || queue.lines === 0) {
      for (const resolve of onFlushed) resolve();
      onFlushed = [];
      return;
    }
    state = "checking";
    fstat(target.descriptor, (error, stats) => {
      state = "idle";
      // The file may have been closed or reopened meanwhile.
      if (file !== target) {
        drain();
        return;
      }
      if (error === null) update(target, stats);
      advance(target);
    });
  }

  function update(target: OpenFile, stats: Stats): void {
    // The first line of a truncated file is written today.
    if (stats.size === 0) target.dayEndsMs = dayEndMs(clock.wallMs());
    target.size = stats.size;
    target.isDeleted = stats.isFile() && stats.nlink === 0;
  }

  function advance(target: OpenFile): void {
    const mayRotate = clock.nowMs() >= retryRotationMs;
    if (target.isDeleted && mayRotate) {
      void switchFile(target, openToAppend);
    } else if (!isDue(target)) {
      writeBatch(target);
    } else if (mayRotate) {
      void rotate(target);
    } else if (hasRoom(target)) {
      // The day is over, but the file could not be renamed.
      writeBatch(target);
    } else {
      dropAll();
      drain();
    }
  }

  function writeBatch(target: OpenFile): void {
    const { bytes, chars, lines } = queue.takeBatch(roomOf(target));
    state = "writing";
    writingChars = chars;
    writeAll(target.descriptor, bytes, 0, (error) => {
      state = "idle";
      writingChars = 0;
      for (const old of outdated) closeQuietly(old);
      outdated = [];
      if (error !== null) {
        problem = error;
        dropped += lines;
        queue.isTorn = file === target;
      }
      drain();
    });
  }

  // --- rotation ---

  function roomOf({ limits, size }: OpenFile): number {
    return limits === undefined ? Number.POSITIVE_INFINITY : limits.maxBytes - size;
  }

  function hasRoom(target: OpenFile): boolean {
    // One byte more, for the line feed after a torn line.
    return target.size === 0 || roomOf(target) > Buffer.byteLength(queue.first);
  }

  function isDue(target: OpenFile): boolean {
    if (target.limits === undefined || target.size === 0) return false;
    return clock.wallMs() >= target.dayEndsMs || !hasRoom(target);
  }

  async function rotate(target: OpenFile): Promise<void> {
    const { inode, limits } = target;
    if (limits !== undefined) await switchFile(target, (path) => startNewFile(path, inode, limits));
  }

  /** Continues with the file that `open` opens at the same path. */
  async function switchFile(
    target: OpenFile,
    open: (path: string) => Promise<number>,
  ): Promise<void> {
    state = "rotating";
    try {
      const { path, limits } = target;
      const descriptor = await open(path);
      // The file may have been reopened meanwhile, but at the same path, so this one is right too.
      if (isClosed) closeQuietly(descriptor);
      else replace(openedFile(path, descriptor, limits));
    } catch (error) {
      problem = error;
      retryRotationMs = clock.nowMs() + RETRY_MS;
    } finally {
      state = "idle";
    }
    drain();
  }

  function openedFile(path: string, descriptor: number, limits: LogLimits | undefined): OpenFile {
    const stats = fstatSync(descriptor);
    const { size, ino } = stats;
    const now = clock.wallMs();
    return {
      path,
      descriptor,
      inode: ino,
      // A pipe or a device cannot be rotated.
      limits: stats.isFile() && limits !== undefined && limits.maxFiles > 0 ? limits : undefined,
      size,
      dayEndsMs: dayEndMs(size > 0 ? Math.min(stats.mtimeMs, now) : now),
      isDeleted: false,
    };
  }

  function replace(fresh: OpenFile): void {
    if (file !== undefined) {
      if (state === "writing") outdated.push(file.descriptor);
      else closeQuietly(file.descriptor);
    }
    file = fresh;
    queue.isTorn = false;
  }

  function dropAll(): void {
    dropped += queue.lines;
    queue.clear();
  }

  return {
    open(path, limits) {
      replace(openedFile(path, openSync(path, "a", LOG_FILE_MODE), limits));
      retryRotationMs = Number.NEGATIVE_INFINITY;
      drain();
    },
    write(given) {
      if (isClosed) return;
      const line = given.length > MAX_LINE_CHARS ? `${given.slice(0, MAX_LINE_CHARS)}…\n` : given;
      if (queue.chars + writingChars + line.length > MAX_PENDING_CHARS) {
        dropped++;
        return;
      }
      queue.push(line);
      if (gatherMs === undefined) drain();
      else {
        gathering ??= clock.after(gatherMs, () => {
          gathering = undefined;
          drain();
        });
      }
    },
    takeDropped() {
      const count = dropped;
      dropped = 0;
      return count;
    },
    lastProblem: () => problem,
    flush() {
      return new Promise((resolve) => {
        onFlushed.push(resolve);
        drain();
      });
    },
    close() {
      isClosed = true;
      gathering?.cancel();
      if (file === undefined) return;
      const { bytes, lines } = queue.takeBatch(Number.POSITIVE_INFINITY);
      try {
        if (lines > 0) writeSync(file.descriptor, bytes);
      } catch {
        dropped += lines;
      }
      // A write in progress still uses the descriptor; the exit of the process closes it.
      if (state !== "writing") closeQuietly(file.descriptor);
      file = undefined;
    },
  };
}

class LineQueue {
  /** A failed write may have left a partial line, so the next batch starts with a line feed. */
  isTorn = false;
  #lines: string[] = [];
  #chars = 0;

  get lines(): number {
    return this.#lines.length;
  }

  get chars(): number {
    return this.#chars;
  }

  get first(): string {
    return this.#lines[0] ?? "";
  }

  push(line: string): void {
    this.#lines.push(line);
    this.#chars += line.length;
  }

  clear(): void {
    this.#lines = [];
    this.#chars = 0;
  }

  /** Removes the next lines: as many as fit into `maxBytes`, but at least one. */
  takeBatch(maxBytes: number): { bytes: Buffer; chars: number; lines: number } {
    const start = this.isTorn ? "\n" : "";
    const lines = this.#countFitting(maxBytes, start.length);
    const text = this.#lines.slice(0, lines).join("");
    this.#lines = this.#lines.slice(lines);
    this.#chars -= text.length;
    this.isTorn = false;
    return { bytes: Buffer.from(start + text), chars: text.length, lines };
  }

  #countFitting(maxBytes: number, startBytes: number): number {
    if (this.#chars * MAX_BYTES_PER_CHAR + startBytes <= maxBytes) return this.#lines.length;
    let bytes = startBytes;
    let lines = 0;
    for (const line of this.#lines) {
      bytes += Buffer.byteLength(line);
      if (lines > 0 && bytes > maxBytes) break;
      lines++;
    }
    return lines;
  }
}

/** Writes all of `bytes` from `from` on, repeating after short writes. */
function writeAll(
  file: number,
  bytes: Buffer,
  from: number,
  done: (error: Error | null) => void,
): void {
  write(file, bytes, from, bytes.length - from, null, (error, count) => {
    if (error !== null || from + count >= bytes.length) done(error);
    else writeAll(file, bytes, from + count, done);
  });
}

function closeQuietly(file: number): void {
  try {
    closeSync(file);
  } catch {
    // Lost lines were counted when they were written.
  }
}
