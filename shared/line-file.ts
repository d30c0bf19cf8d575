/**
 * A file that lines are appended to. It never blocks and never fails its callers: what a full disk or a slow one does not
 * take is dropped and counted, and memory stays bounded.
 */
import { closeSync, type NoParamCallback, openSync, write, writeSync } from "node:fs";
import type { Clock, Timer } from "./clock.ts";

export interface LineFile {
  /**
   * Appends to `path` what was written so far and what comes, instead of the file of before. Throws when it cannot be
   * opened; then the file of before stays.
   */
  open(path: string): void;
  /** A line with its line feed. */
  write(line: string): void;
  /** Lines that were lost since the last call; for a line that says so. */
  takeDropped(): number;
  /** Resolves when everything written so far is in the file, or was dropped. */
  flush(): Promise<void>;
  /** Writes what still waits, synchronously, and closes the file. For an end of the process that cannot wait. */
  close(): void;
}

/** Characters that wait for the disk, those it is taking included, before lines are dropped. */
const MAX_WAITING_CHARS = 8 * 1024 * 1024;

/**
 * `gather`: lines wait so long for others, so that many cost one call of the system. Without it the first one is written
 * at once.
 */
export function createLineFile(gather?: { clock: Clock; ms: number }): LineFile {
  let file: number | undefined;
  let closed = false;
  let queue: string[] = [];
  let queuedChars = 0;
  let writingChars = 0;
  let gathering: Timer | undefined;
  let dropped = 0;
  /** A failed write may have left half a line: the next one starts with a line feed. */
  let torn = false;
  let flushed: (() => void)[] = [];
  /** Files that were replaced while a write to them was under way. */
  let outdated: number[] = [];

  function takeBatch(): { bytes: Buffer; lines: number } {
    const bytes = Buffer.from((torn ? "\n" : "") + queue.join(""));
    const lines = queue.length;
    queue = [];
    queuedChars = 0;
    torn = false;
    return { bytes, lines };
  }

  function drain(): void {
    if (writingChars > 0) return;
    if (file === undefined || queue.length === 0) {
      for (const resolve of flushed) resolve();
      flushed = [];
      return;
    }
    writingChars = queuedChars;
    const target = file;
    const { bytes, lines } = takeBatch();
    writeAll(target, bytes, (error) => {
      writingChars = 0;
      for (const old of outdated) closeQuietly(old);
      outdated = [];
      if (error !== null) {
        dropped += lines;
        torn = file === target;
      }
      drain();
    });
  }

  return {
    open(path) {
      const opened = openSync(path, "a", 0o640);
      if (file !== undefined) {
        if (writingChars > 0) outdated.push(file);
        else closeQuietly(file);
      }
      file = opened;
      torn = false;
      drain();
    },
    write(line) {
      if (closed) return;
      if (queuedChars + writingChars + line.length > MAX_WAITING_CHARS) {
        dropped++;
        return;
      }
      queue.push(line);
      queuedChars += line.length;
      if (gather === undefined) drain();
      else {
        gathering ??= gather.clock.after(gather.ms, () => {
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
      const { bytes, lines } = takeBatch();
      try {
        if (lines > 0) writeSync(file, bytes);
      } catch {
        dropped += lines;
      }
      // A write that is still under way owns the descriptor; the end of the process closes it.
      if (writingChars === 0) closeQuietly(file);
      file = undefined;
    },
  };
}

/** Writes all of `bytes`; a short write goes on with the rest. */
function writeAll(file: number, bytes: Buffer, done: NoParamCallback): void {
  write(file, bytes, (error, written) => {
    if (error !== null) done(error);
    else if (written < bytes.length) writeAll(file, bytes.subarray(written), done);
    else done(null);
  });
}

function closeQuietly(file: number): void {
  try {
    closeSync(file);
  } catch {
    // What could be lost with it was counted when it was written.
  }
}
