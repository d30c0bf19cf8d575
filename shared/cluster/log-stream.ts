/**
 * Log lines of a process on their way into the store, so that operators see the logs of all machines in one place. It never
 * blocks and never fails its callers; what comes too fast, or while the store is slow or away, is left out and counted.
 */
import type { Writable } from "node:stream";
import type { Clock, Timer } from "../base/clock.ts";
import type { LineSink } from "../logs/log.ts";
import type { Counters } from "../metrics/metrics.ts";
import { MAX_STREAM_TEXT_CHARS, type Store, type StreamName } from "../store/store.ts";

export interface LogStream extends LineSink {
  /** A line, with or without its line feed. */
  write(line: string): void;
  /** Whether the next line would be taken. If not, it is counted as left out, and need not be made. */
  hasRoom(): boolean;
  /** Sends what waits. */
  close(): Promise<void>;
}

export type LogStreamName = Extract<StreamName, `log-${string}`>;

const LOG_NAMES = { "log-server": "server", "log-access": "access", "log-error": "error" } as const;

/** Lines wait so long for others: two operations of the store a second at most. */
const GATHER_MS = 500;
/** A thousand a second; more is nobody's to read, and would be the store's load: Redis takes 3 µs for each. */
const MAX_LINES = 500;
/** Between the process that speaks and its line. No line has one: control characters are escaped in all of them. */
const SEPARATOR = "\t";

export function createLogStream(needs: {
  readonly store: Pick<Store, "appendToStream">;
  readonly stream: LogStreamName;
  /** Who speaks: the member's id. */
  readonly source: string;
  readonly clock: Clock;
  readonly counters: Pick<Counters, "count">;
}): LogStream {
  const { store, stream, source, clock, counters } = needs;
  let waiting: string[] = [];
  /** Since the last line that said so. */
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
    const told = leftOut;
    leftOut = 0;
    const note = `… ${told} lines are left out here: they came too fast, or the store was away`;
    const texts = told === 0 ? lines : [...lines, note];
    try {
      await store.appendToStream(
        stream,
        texts.map((line) => `${source}${SEPARATOR}${line}`.slice(0, MAX_STREAM_TEXT_CHARS)),
      );
    } catch {
      // Files and standard output have them; the store's client says that it is away.
      leftOut += told;
      leaveOut(lines.length);
    }
  }

  /** One at a time, so that lines stay in order and a slow store is not asked ever more. */
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
    write(line) {
      if (waiting.length >= MAX_LINES) {
        leaveOut(1);
        return;
      }
      waiting.push(line.trimEnd());
      sendSoon();
    },
    hasRoom() {
      if (waiting.length < MAX_LINES) return true;
      leaveOut(1);
      return false;
    },
    async close() {
      await sending;
      timer?.cancel();
      if (waiting.length > 0) await send();
    },
  };
}

/** A text of a log's stream as it was written. Of a stranger's text the source is empty. */
export function parseLogText(text: string): { readonly source: string; readonly line: string } {
  const at = text.indexOf(SEPARATOR);
  return { source: text.slice(0, Math.max(0, at)), line: text.slice(at + 1) };
}

/** Where a program's own log goes: to `own`, and also into the store once there is a stream. */
export function createSharedSink(own: LineSink): SharedSink {
  let shared: LogStream | undefined;
  return {
    write(line) {
      own.write(line);
      shared?.write(line);
    },
    shareWith(stream) {
      shared = stream;
    },
  };
}

/** Bytes that wait for whoever reads standard output, before lines are dropped there. */
const MAX_QUEUED_BYTES = 8 * 1024 * 1024;

/**
 * The same for a program whose own place is standard output. Lines that it does not take (its disk is full, whoever reads
 * it is gone or reads no more) are lost and counted.
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

export interface SharedSink extends LineSink {
  shareWith(stream: LogStream): void;
}
