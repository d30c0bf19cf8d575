/**
 * Copies a process's log lines to the store, so that operators see the logs of all machines in one place. It never blocks and
 * never fails its callers; lines that come too fast, or while the store is slow or away, are left out and counted.
 */
import type { Writable } from "node:stream";
import type { Clock, Timer } from "../base/clock.ts";
import type { LineSink } from "../logs/log.ts";
import type { Counters } from "../metrics/metrics.ts";
import type { Store } from "../store/store.ts";
import { MAX_STREAM_TEXT_CHARS, type StreamName } from "../store/streams.ts";

export type LogStream = ReturnType<typeof createLogStream>;

export type LogStreamName = Extract<StreamName, `log-${string}`>;

const LOG_NAMES = { "log-server": "server", "log-access": "access", "log-error": "error" } as const;

/** How long a line waits for others; limits each stream to two store operations per second. */
const GATHER_MS = 500;
/** A thousand lines per second. Nobody reads more, and Redis needs 3 µs for each. */
const MAX_LINES = 500;
/** Separates the source from the line, which contains none because control characters are escaped. */
const SEPARATOR = "\t";

export function createLogStream(deps: {
  readonly store: Pick<Store, "appendToStream">;
  readonly stream: LogStreamName;
  /** The id of the process. */
  readonly source: string;
  readonly clock: Clock;
  readonly counters: Pick<Counters, "count">;
}) {
  const { store, stream, source, clock, counters } = deps;
  let waiting: string[] = [];
  /** Lines left out since the last note about them. */
  let leftOut = 0;
  let timer: Timer | undefined;
  let sending: Promise<void> | undefined;

  function leaveOut(lines: number): void {
    leftOut += lines;
    counters.count("log.lines_left_out", LOG_NAMES[stream], lines);
  }

  async function send(): Promise<void> {
    const lines = waiting;
    waiting = [];
    const reported = leftOut;
    leftOut = 0;
    const note = `… ${reported} lines are left out here: they came too fast, or the store was away`;
    const texts = reported === 0 ? lines : [...lines, note];
    try {
      await store.appendToStream(
        stream,
        texts.map((line) => `${source}${SEPARATOR}${line}`.slice(0, MAX_STREAM_TEXT_CHARS)),
      );
    } catch {
      // The lines are in files and on standard output, and the store's client logs that the store is away.
      leftOut += reported;
      leaveOut(lines.length);
    }
  }

  /** One operation at a time, so that lines stay in order and a slow store does not get ever more of them. */
  function sendSoon(): void {
    if (sending !== undefined) return;
    timer ??= clock.after(GATHER_MS, () => {
      timer = undefined;
      sending = send().finally(() => {
        sending = undefined;
        if (waiting.length > 0) sendSoon();
      });
    });
  }

  return {
    /** Writes a line, with or without its line feed. */
    write(line: string): void {
      if (waiting.length >= MAX_LINES) {
        leaveOut(1);
        return;
      }
      waiting.push(line.trimEnd());
      sendSoon();
    },
    /** Whether there is room for another line. If not, counts the line as left out, so that it need not be formatted. */
    hasRoom(): boolean {
      if (waiting.length < MAX_LINES) return true;
      leaveOut(1);
      return false;
    },
    /** Sends pending lines. */
    async close(): Promise<void> {
      await sending;
      timer?.cancel();
      if (waiting.length > 0) await send();
    },
  };
}

/** Splits a text of the stream. The source is empty if the text is not from this code. */
export function parseLogText(text: string): { readonly source: string; readonly line: string } {
  const at = text.indexOf(SEPARATOR);
  return { source: text.slice(0, Math.max(0, at)), line: text.slice(at + 1) };
}

export type SharedSink = ReturnType<typeof createSharedSink>;

/** The sink of a program's own log: writes to `own`, and also to the store once there is a stream. */
export function createSharedSink(own: LineSink) {
  let shared: LogStream | undefined;
  return {
    write(line: string): void {
      own.write(line);
      shared?.write(line);
    },
    shareWith(stream: LogStream): void {
      shared = stream;
    },
  };
}

/** Most bytes buffered for the reader of standard output; further lines are dropped. */
const MAX_QUEUED_BYTES = 8 * 1024 * 1024;

/**
 * A shared sink whose own destination is standard output. Lines that `output` does not take, because its disk is full or its
 * reader is gone or stopped reading, are lost and counted.
 */
export function createProgramSink(output: Writable, counters: Pick<Counters, "count">): SharedSink {
  output.on("error", () => counters.count("log.lines_dropped"));
  return createSharedSink({
    write(line) {
      if (output.writableLength < MAX_QUEUED_BYTES) output.write(line);
      else counters.count("log.lines_dropped");
    },
  });
}
