/**
 * The one writer of the edge's log lines: standard output and server.log. Children hand their lines to it, so that lines
 * of several processes never mix. It never blocks and never fails its callers: when the disk is full or nobody reads
 * standard output, lines are dropped and counted, and memory stays bounded.
 */
import { closeSync, type NoParamCallback, openSync, write, writeSync } from "node:fs";
import type { LineSink } from "../shared/log.ts";

export interface LineWriter extends LineSink {
  /** Starts to write to `path` (appending) what was written so far and what comes. Throws when it cannot be opened. */
  open(path: string): void;
  /** Lines that were not written to the file since the last call; for a line that says so. */
  takeDropped(): number;
  /** Resolves when everything written so far is in the file, or was dropped. */
  flush(): Promise<void>;
  /** Writes what still waits, synchronously, and closes the file. For an end of the process that cannot wait. */
  close(): void;
}

/** Bytes that wait for the disk, or for whoever reads standard output, before lines are dropped. */
const MAX_QUEUED_BYTES = 8 * 1024 * 1024;

/** What is used of `process.stdout`. */
export interface Terminal {
  write(text: string): unknown;
  readonly writableLength: number;
  readonly destroyed: boolean;
}

export function createLineWriter(needs: { terminal: Terminal }): LineWriter {
  let file: number | undefined;
  let closed = false;
  let queue: string[] = [];
  let queuedBytes = 0;
  let writing = false;
  let dropped = 0;
  /** A failed write may have left half a line: the next one starts with a line feed. */
  let torn = false;
  let flushed: (() => void)[] = [];

  function enqueue(line: string): void {
    if (queuedBytes + line.length > MAX_QUEUED_BYTES) {
      dropped++;
      return;
    }
    queue.push(line);
    queuedBytes += line.length;
    drain();
  }

  function takeBatch(): { bytes: Buffer; lines: number } {
    const bytes = Buffer.from((torn ? "\n" : "") + queue.join(""));
    const lines = queue.length;
    queue = [];
    queuedBytes = 0;
    torn = false;
    return { bytes, lines };
  }

  function drain(): void {
    if (writing) return;
    if (file === undefined || queue.length === 0) {
      for (const resolve of flushed) resolve();
      flushed = [];
      return;
    }
    writing = true;
    const { bytes, lines } = takeBatch();
    writeAll(file, bytes, (error) => {
      writing = false;
      if (error !== null) {
        dropped += lines;
        torn = true;
      }
      drain();
    });
  }

  return {
    write(line) {
      const { terminal } = needs;
      if (!terminal.destroyed && terminal.writableLength < MAX_QUEUED_BYTES) terminal.write(line);
      if (!closed) enqueue(line);
    },
    open(path) {
      file = openSync(path, "a", 0o640);
      drain();
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
      if (file === undefined) return;
      try {
        if (queue.length > 0) writeSync(file, takeBatch().bytes);
        // A write that is still under way owns the descriptor; the end of the process closes it.
        if (!writing) closeSync(file);
      } catch {
        // The disk is full at the very end: these lines were on standard output too.
      }
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
