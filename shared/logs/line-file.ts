/**
 * A file that lines are appended to, and that is rotated by size and day. It never blocks and never fails its callers: what
 * a full disk or a slow one does not take is dropped and counted, and memory stays bounded. A line is in one file, whole.
 */
import { closeSync, fstat, fstatSync, openSync, type Stats, write, writeSync } from "node:fs";
import type { Clock, Timer } from "../base/clock.ts";
import { dayEndMs, LOG_FILE_MODE, type LogLimits, openToAppend, startNewFile } from "./rotation.ts";

export interface LineFile {
  /**
   * Appends to `path` what was written so far and what comes, instead of the file of before. Throws when it cannot be
   * opened; then the file of before stays. Without limits it grows for ever.
   */
  open(path: string, limits?: LogLimits): void;
  /** A line with its line feed. Of a very long one only the beginning is kept. */
  write(line: string): void;
  /** Lines that were lost since the last call; for a line that says so. */
  takeDropped(): number;
  /** What the system said last against a write or a rotation; undefined when it never did. */
  lastProblem(): unknown;
  /** Resolves when everything written so far is in the file, or was dropped. */
  flush(): Promise<void>;
  /** Writes what still waits, synchronously, and closes the file. For an end of the process that cannot wait. */
  close(): void;
}

/** Characters that wait for the disk, those it is taking included, before lines are dropped. */
const MAX_WAITING_CHARS = 8 * 1024 * 1024;
/** A longer line is cut: it would only hide the others. Shorter than any limit of a file, so that each one fits. */
const MAX_LINE_CHARS = 16 * 1024;
/** Bytes of a character in UTF-8, at most, for each unit of UTF-16. */
const MAX_BYTES_PER_CHAR = 3;
/** A rotation that failed is tried again so much later. */
const RETRY_MS = 10_000;

interface OpenFile {
  readonly path: string;
  readonly descriptor: number;
  readonly inode: number;
  /** Undefined: it is not rotated. */
  readonly limits: LogLimits | undefined;
  /**
   * What it held before the last write: logrotate's copytruncate empties it, and earlier processes wrote to it too.
   */
  size: number;
  /** When the day of its first lines ends, on the wall clock. */
  dayEndsMs: number;
  /** Nobody can read what is written to it now. */
  isDeleted: boolean;
}

/**
 * `gatherMs`: lines wait so long for others, so that many cost one call of the system. Without it the first one is written
 * at once.
 */
export function createLineFile(needs: { clock: Clock; gatherMs?: number }): LineFile {
  const { clock, gatherMs } = needs;
  let file: OpenFile | undefined;
  let closed = false;
  let queue: string[] = [];
  let queuedChars = 0;
  /** Handed to the system. */
  let writingChars = 0;
  let isRotating = false;
  let isLooking = false;
  let rotateAgainMs = Number.NEGATIVE_INFINITY;
  let gathering: Timer | undefined;
  let dropped = 0;
  let problem: unknown;
  /** A failed write may have left half a line: the next one starts with a line feed. */
  let torn = false;
  let flushed: (() => void)[] = [];
  /** Files that were replaced while a write to them was under way. */
  let outdated: number[] = [];

  /** The next lines, as many as have room in `bytes`, but one at least. */
  function takeBatch(bytes: number): { bytes: Buffer; chars: number; lines: number } {
    const begin = torn ? "\n" : "";
    let lines = queue.length;
    if (queuedChars * MAX_BYTES_PER_CHAR + begin.length > bytes) {
      let taken = begin.length;
      lines = 0;
      for (const line of queue) {
        taken += Buffer.byteLength(line);
        if (lines > 0 && taken > bytes) break;
        lines++;
      }
    }
    const text = (lines === queue.length ? queue : queue.slice(0, lines)).join("");
    queue = lines === queue.length ? [] : queue.slice(lines);
    queuedChars -= text.length;
    torn = false;
    return { bytes: Buffer.from(begin + text), chars: text.length, lines };
  }

  /** Writes what waits, unless that is under way: looks at the file first, because others change it too. */
  function drain(): void {
    if (writingChars > 0 || isRotating || isLooking) return;
    const target = file;
    if (target === undefined || queue.length === 0) {
      for (const resolve of flushed) resolve();
      flushed = [];
      return;
    }
    isLooking = true;
    fstat(target.descriptor, (error, stats) => {
      isLooking = false;
      // It may have been closed, or opened anew, meanwhile.
      if (file !== target) {
        drain();
        return;
      }
      if (error === null) take(target, stats);
      goOn(target);
    });
  }

  function take(target: OpenFile, stats: Stats): void {
    // The first line of an emptied file is of today.
    if (stats.size === 0) target.dayEndsMs = dayEndMs(clock.wallMs());
    target.size = stats.size;
    target.isDeleted = stats.isFile() && stats.nlink === 0;
  }

  function goOn(target: OpenFile): void {
    const mayChange = clock.nowMs() >= rotateAgainMs;
    if (target.isDeleted && mayChange) {
      void change(target, openToAppend);
    } else if (!isDue(target)) {
      writeBatch(target);
    } else if (mayChange) {
      void rotate(target);
    } else if (hasRoom(target)) {
      // Only the day is over, and its file cannot be put aside.
      writeBatch(target);
    } else {
      dropAll();
      drain();
    }
  }

  function writeBatch(target: OpenFile): void {
    const { bytes, chars, lines } = takeBatch(roomOf(target));
    writingChars = chars;
    writeAll(target.descriptor, bytes, 0, (error) => {
      writingChars = 0;
      for (const old of outdated) closeQuietly(old);
      outdated = [];
      if (error !== null) {
        problem = error;
        dropped += lines;
        torn = file === target;
      }
      drain();
    });
  }

  // --- rotation ---

  function roomOf({ limits, size }: OpenFile): number {
    return limits === undefined ? Number.POSITIVE_INFINITY : limits.maxBytes - size;
  }

  function hasRoom(target: OpenFile): boolean {
    const [next = ""] = queue;
    // One more for the line feed behind half a line.
    return target.size === 0 || roomOf(target) > Buffer.byteLength(next);
  }

  function isDue(target: OpenFile): boolean {
    if (target.limits === undefined || target.size === 0) return false;
    return clock.wallMs() >= target.dayEndsMs || !hasRoom(target);
  }

  async function rotate(target: OpenFile): Promise<void> {
    const { inode, limits } = target;
    if (limits !== undefined) await change(target, (path) => startNewFile(path, inode, limits));
  }

  /** Goes on with the file that `open` gives, by the same path. */
  async function change(target: OpenFile, open: (path: string) => Promise<number>): Promise<void> {
    isRotating = true;
    try {
      const { path, limits } = target;
      const descriptor = await open(path);
      // It may have been closed, or opened anew, meanwhile. The same path, so the new file is the one to go on with.
      if (closed) closeQuietly(descriptor);
      else replace(openedFile(path, descriptor, limits));
    } catch (error) {
      problem = error;
      rotateAgainMs = clock.nowMs() + RETRY_MS;
    } finally {
      isRotating = false;
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
      // A pipe or a device has nothing to be rotated.
      limits: stats.isFile() && limits !== undefined && limits.maxFiles > 0 ? limits : undefined,
      size,
      dayEndsMs: dayEndMs(size > 0 ? Math.min(stats.mtimeMs, now) : now),
      isDeleted: false,
    };
  }

  function replace(fresh: OpenFile): void {
    if (file !== undefined) {
      if (writingChars > 0) outdated.push(file.descriptor);
      else closeQuietly(file.descriptor);
    }
    file = fresh;
    torn = false;
  }

  function dropAll(): void {
    dropped += queue.length;
    queue = [];
    queuedChars = 0;
  }

  return {
    open(path, limits) {
      replace(openedFile(path, openSync(path, "a", LOG_FILE_MODE), limits));
      rotateAgainMs = Number.NEGATIVE_INFINITY;
      drain();
    },
    write(given) {
      if (closed) return;
      const line = given.length > MAX_LINE_CHARS ? `${given.slice(0, MAX_LINE_CHARS)}…\n` : given;
      if (queuedChars + writingChars + line.length > MAX_WAITING_CHARS) {
        dropped++;
        return;
      }
      queue.push(line);
      queuedChars += line.length;
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
        flushed.push(resolve);
        drain();
      });
    },
    close() {
      closed = true;
      gathering?.cancel();
      if (file === undefined) return;
      const { bytes, lines } = takeBatch(Number.POSITIVE_INFINITY);
      try {
        if (lines > 0) writeSync(file.descriptor, bytes);
      } catch {
        dropped += lines;
      }
      // A write that is still under way owns the descriptor; the end of the process closes it.
      if (writingChars === 0) closeQuietly(file.descriptor);
      file = undefined;
    },
  };
}

/** Writes all of `bytes` from `from` on; a short write goes on with the rest. */
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
    // What could be lost with it was counted when it was written.
  }
}
