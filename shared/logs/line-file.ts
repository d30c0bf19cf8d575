/**
 * A log file that is rotated by size and day. It never blocks and never fails its callers: lines that a full or slow disk
 * does not take are dropped and counted, and memory is bounded. No line is split across files.
 */
import { appendFile, closeSync, fstat, fstatSync, openSync, type Stats, writeSync } from "node:fs";
import { promisify } from "node:util";
import type { Clock, Timer } from "../base/clock.ts";
import { LineQueue } from "./line-queue.ts";
import { dayEndMs, LOG_FILE_MODE, type LogLimits, openToAppend, startNewFile } from "./rotation.ts";

/** Most bytes that wait for the disk, including those being written; further lines are dropped. */
const MAX_PENDING_BYTES = 8 * 1024 * 1024;
/** Longer lines are cut. Shorter than the smallest size limit of a file, so that each line fits into one. */
const MAX_LINE_CHARS = 16 * 1024;
const RETRY_MS = 10_000;

const statsOf = promisify(fstat);
/** Repeats after short writes. */
const append: (file: number, bytes: Buffer) => Promise<void> = promisify(appendFile);

export class LineFile {
  readonly #clock: Clock;
  readonly #gatherMs: number | undefined;
  readonly #queue = new LineQueue();
  #file: OpenFile | undefined;
  #isDraining = false;
  #isClosed = false;
  #writing: { readonly file: OpenFile; readonly bytes: number } | undefined;
  #retryRotationMs = Number.NEGATIVE_INFINITY;
  #gathering: Timer | undefined;
  #dropped = 0;
  #problem: unknown;
  #onFlushed: (() => void)[] = [];

  /**
   * `gatherMs`: how long a line waits for others, so that many lines cost one system call. Without it the first line is
   * written immediately.
   */
  constructor({ clock, gatherMs }: { clock: Clock; gatherMs?: number }) {
    this.#clock = clock;
    this.#gatherMs = gatherMs;
  }

  /**
   * Appends pending and future lines to `path` instead of the current file. Throws if it cannot be opened; then the current
   * file stays in use. Without limits the file is never rotated.
   */
  open(path: string, limits?: LogLimits): void {
    this.#replace(openedFile(path, openSync(path, "a", LOG_FILE_MODE), limits, this.#clock));
    this.#retryRotationMs = Number.NEGATIVE_INFINITY;
    this.#drain();
  }

  /** Writes a line, which ends with a line feed. Very long lines are cut. */
  write(given: string): void {
    if (this.#isClosed) return;
    const line = given.length > MAX_LINE_CHARS ? `${given.slice(0, MAX_LINE_CHARS)}…\n` : given;
    const pendingBytes = this.#queue.bytes + (this.#writing?.bytes ?? 0);
    if (pendingBytes + line.length > MAX_PENDING_BYTES) {
      this.#dropped++;
      return;
    }
    this.#queue.push(line);
    if (this.#gatherMs === undefined) this.#drain();
    else {
      this.#gathering ??= this.#clock.after(this.#gatherMs, () => {
        this.#gathering = undefined;
        this.#drain();
      });
    }
  }

  /** Returns the number of lines dropped since the last call, so that the caller can log it. */
  takeDropped(): number {
    const count = this.#dropped;
    this.#dropped = 0;
    return count;
  }

  /** The last error of a write or a rotation, if there was one. */
  lastProblem(): unknown {
    return this.#problem;
  }

  /** Resolves when every line written so far is in the file or was dropped. */
  flush(): Promise<void> {
    return new Promise((resolve) => {
      this.#onFlushed.push(resolve);
      this.#drain();
    });
  }

  /** Writes pending lines synchronously and closes the file, for the exit of the process. */
  close(): void {
    this.#isClosed = true;
    this.#gathering?.cancel();
    if (this.#file === undefined) return;
    const { bytes, lines } = this.#queue.takeBatch(Number.POSITIVE_INFINITY);
    try {
      if (lines > 0) writeSync(this.#file.descriptor, bytes);
    } catch {
      this.#dropped += lines;
    }
    this.#replace(undefined);
  }

  // --- writing and rotation ---

  #drain(): void {
    if (!this.#isDraining) void this.#writePending();
  }

  /** Until the queue is empty: checks the file, then rotates it or writes the next batch. */
  async #writePending(): Promise<void> {
    this.#isDraining = true;
    while (this.#queue.lines > 0) {
      const target = this.#file;
      if (target === undefined) break;
      // Other programs change the file too.
      const stats = await statsOf(target.descriptor).catch(() => undefined);
      // The file may have been closed or reopened meanwhile.
      if (this.#file !== target) continue;
      if (stats !== undefined) update(target, stats, this.#clock);
      const isDue = this.#isDue(target);
      if (this.#clock.nowMs() >= this.#retryRotationMs && (isDue || target.isDeleted)) {
        await this.#startNewFile(target);
      } else if (!isDue || hasRoom(target, this.#queue.firstBytes)) {
        // Also when the day is over, but the file could not be renamed.
        await this.#writeBatch(target);
      } else {
        this.#dropped += this.#queue.lines;
        this.#queue.clear();
      }
    }
    this.#isDraining = false;
    for (const resolve of this.#onFlushed) resolve();
    this.#onFlushed = [];
  }

  #isDue(target: OpenFile): boolean {
    if (target.limits === undefined || target.size === 0) return false;
    return this.#clock.wallMs() >= target.dayEndsMs || !hasRoom(target, this.#queue.firstBytes);
  }

  async #writeBatch(target: OpenFile): Promise<void> {
    const { bytes, lines } = this.#queue.takeBatch(roomOf(target));
    this.#writing = { file: target, bytes: bytes.length };
    try {
      await append(target.descriptor, bytes);
    } catch (error) {
      this.#problem = error;
      this.#dropped += lines;
      this.#queue.isTorn = this.#file === target;
    }
    this.#writing = undefined;
    // It was replaced meanwhile.
    if (this.#file !== target) closeQuietly(target.descriptor);
  }

  /** Continues with a new file at the same path, after a rotation unless another program has moved the old one. */
  async #startNewFile({ path, inode, limits }: OpenFile): Promise<void> {
    try {
      const descriptor = await (limits === undefined
        ? openToAppend(path)
        : startNewFile(path, inode, limits));
      // The file may have been reopened meanwhile, but at the same path, so this one is right too.
      if (this.#isClosed) closeQuietly(descriptor);
      else this.#replace(openedFile(path, descriptor, limits, this.#clock));
    } catch (error) {
      this.#problem = error;
      this.#retryRotationMs = this.#clock.nowMs() + RETRY_MS;
    }
  }

  #replace(fresh: OpenFile | undefined): void {
    const old = this.#file;
    // A write in progress still uses its descriptor.
    if (old !== undefined && old !== this.#writing?.file) closeQuietly(old.descriptor);
    this.#file = fresh;
    this.#queue.isTorn = false;
  }
}

// --- the open file ---

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

function openedFile(
  path: string,
  descriptor: number,
  limits: LogLimits | undefined,
  clock: Clock,
): OpenFile {
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

function update(file: OpenFile, stats: Stats, clock: Clock): void {
  // The first line of a truncated file is written today.
  if (stats.size === 0) file.dayEndsMs = dayEndMs(clock.wallMs());
  file.size = stats.size;
  file.isDeleted = stats.isFile() && stats.nlink === 0;
}

function roomOf({ limits, size }: OpenFile): number {
  return limits === undefined ? Number.POSITIVE_INFINITY : limits.maxBytes - size;
}

function hasRoom(file: OpenFile, lineBytes: number): boolean {
  // One byte more, for the line feed after a torn line.
  return file.size === 0 || roomOf(file) > lineBytes;
}

function closeQuietly(file: number): void {
  try {
    closeSync(file);
  } catch {
    // Lost lines were counted when they were written.
  }
}
