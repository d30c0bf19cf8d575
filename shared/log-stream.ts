/**
 * Log lines of a process on their way into the store, so that operators see the logs of all machines in one place. It never
 * blocks and never fails its callers; what comes too fast, or while the store is away, is left out and counted.
 */
import type { Clock, Timer } from "./clock.ts";
import { MAX_STREAM_TEXT_CHARS, type Store, type StreamName } from "./store/store.ts";

export interface LogStream {
  /** A line, with or without its line feed. */
  write(line: string): void;
  close(): Promise<void>;
}

/** Lines wait so long for others: two operations of the store a second at most. */
const GATHER_MS = 500;
/** A thousand a second; more is nobody's to read, and would be the store's load. */
const MAX_LINES = 500;

export function createLogStream(needs: {
  readonly store: Pick<Store, "appendToStream">;
  readonly stream: StreamName;
  readonly clock: Clock;
}): LogStream {
  let waiting: string[] = [];
  let skipped = 0;
  let timer: Timer | undefined;
  let sending: Promise<void> | undefined;

  async function send(): Promise<void> {
    const lines = waiting;
    waiting = [];
    if (skipped > 0) lines.push(`… ${skipped} lines came too fast and are left out here`);
    const told = skipped;
    skipped = 0;
    try {
      await needs.store.appendToStream(needs.stream, lines);
    } catch {
      // The files and standard output have them; the store's client says that it is away.
      skipped += told + lines.length;
    }
  }

  function sendSoon(): void {
    timer ??= needs.clock.after(GATHER_MS, () => {
      timer = undefined;
      sending = send();
    });
  }

  return {
    write(line) {
      if (waiting.length >= MAX_LINES) {
        skipped++;
        return;
      }
      waiting.push(line.trimEnd().slice(0, MAX_STREAM_TEXT_CHARS));
      sendSoon();
    },
    async close() {
      timer?.cancel();
      await sending;
      if (waiting.length > 0) await send();
    },
  };
}
