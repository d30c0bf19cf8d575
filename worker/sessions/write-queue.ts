/**
 * What of one session must be written to the store: in order, one at a time, and again when the store was away. The
 * session itself never waits for a store that is away.
 */
import type { Clock, Timer } from "../../shared/base/clock.ts";
import { type Holder, StoreAwayError } from "../../shared/store/store.ts";

/** One write. `lost`: the store says that this worker does not own the session, or does not know it. */
export type Write = (holder: Holder) => Promise<"done" | "lost">;

export interface WriteQueue {
  /**
   * Writes after everything that was given before. Resolves with `done`, with `lost`, or with `later` when the store is
   * away (it is written when the store is back). Never rejects.
   */
  write(write: Write): Promise<"done" | "lost" | "later">;
  /** Writes that have not been done yet. */
  readonly pending: number;
  /** Resolves when nothing is pending any more, or the store is away. */
  settled(): Promise<void>;
  /** Gives everything up that was not written yet. */
  close(): void;
}

interface Entry {
  readonly write: Write;
  readonly settle: (result: "done" | "lost" | "later") => void;
}

const RETRY_MS = 1000;

export function createWriteQueue(needs: {
  clock: Clock;
  holder: () => Holder;
  /**
   * Asked when a write says that the session is lost: whether it is held after all, because the store did not know it and
   * has been told. Then the write is done again. Rejects with `StoreAwayError`.
   */
  insist: () => Promise<"held" | "lost">;
  /** Called once, when the session is lost; nothing is written after it. */
  onLost: () => void;
  /** Called for a write that failed in a way that a retry does not mend; it is left out. */
  onFailure: (error: unknown) => void;
}): WriteQueue {
  const entries: Entry[] = [];
  let running: Promise<void> | undefined;
  let retry: Timer | undefined;
  let closed = false;

  async function run(): Promise<void> {
    for (let entry = entries[0]; entry !== undefined; entry = entries[0]) {
      const result = await attempt(entry.write);
      if (closed) return;
      if (result === "away") return waitForStore();
      entries.shift();
      entry.settle(result);
      if (result === "lost") return lose();
    }
  }

  async function attempt(write: Write): Promise<"done" | "lost" | "away"> {
    try {
      const result = await write(needs.holder());
      if (result === "done" || closed || (await needs.insist()) === "lost") return result;
      return await write(needs.holder());
    } catch (error) {
      if (error instanceof StoreAwayError) return "away";
      needs.onFailure(error);
      return "done";
    }
  }

  function waitForStore(): void {
    for (const entry of entries) entry.settle("later");
    retry = needs.clock.after(RETRY_MS, () => {
      retry = undefined;
      start();
    });
  }

  function lose(): void {
    close();
    needs.onLost();
  }

  function close(): void {
    closed = true;
    retry?.cancel();
    for (const entry of entries.splice(0)) entry.settle("lost");
  }

  function start(): void {
    running ??= run().finally(() => {
      running = undefined;
      // What came between the last look at the list and here.
      if (entries.length > 0 && retry === undefined && !closed) start();
    });
  }

  return {
    write(write) {
      if (closed) return Promise.resolve("lost");
      return new Promise((resolve) => {
        entries.push({ write, settle: resolve });
        if (retry === undefined) start();
        else resolve("later");
      });
    },
    get pending() {
      return entries.length;
    },
    async settled() {
      while (running !== undefined) await running;
    },
    close,
  };
}
