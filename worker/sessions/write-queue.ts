/**
 * One session's writes to the store: in order, one at a time, retried while the store is away. The session itself never
 * waits for a store that is away.
 */
import type { Clock, Timer } from "../../shared/base/clock.ts";
import { type Holder, StoreAwayError } from "../../shared/store/store.ts";

/** One write. `lost`: for the store this worker does not own the session, or the session does not exist. */
export type Write = (holder: Holder) => Promise<"done" | "lost">;

export type WriteQueue = ReturnType<typeof createWriteQueue>;

interface Entry {
  readonly write: Write;
  readonly settle: (result: "done" | "lost" | "later") => void;
}

const RETRY_MS = 1000;

export function createWriteQueue(deps: {
  clock: Clock;
  holder: () => Holder;
  /** Awaited before each write. Rejects with `StoreAwayError`. */
  before: () => Promise<void>;
  /**
   * Called when a write results in `lost`: the store may only have lost the session's record. `held`: the record is
   * restored, and the write is done again. Rejects with `StoreAwayError`.
   */
  confirm: () => Promise<"held" | "lost">;
  /** Called once, when the session is lost; nothing is written after it. */
  onLost: () => void;
  /** Called for a write that failed for another reason than a store that is away; it is skipped. */
  onFailure: (error: unknown) => void;
}) {
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
      await deps.before();
      const result = await write(deps.holder());
      if (result === "done" || closed || (await deps.confirm()) === "lost") return result;
      return await write(deps.holder());
    } catch (error) {
      if (error instanceof StoreAwayError) return "away";
      deps.onFailure(error);
      return "done";
    }
  }

  function waitForStore(): void {
    for (const entry of entries) entry.settle("later");
    retry = deps.clock.after(RETRY_MS, () => {
      retry = undefined;
      start();
    });
  }

  function lose(): void {
    close();
    deps.onLost();
  }

  /** Drops all pending writes. */
  function close(): void {
    closed = true;
    retry?.cancel();
    for (const entry of entries.splice(0)) entry.settle("lost");
  }

  function start(): void {
    running ??= run().finally(() => {
      running = undefined;
      // Entries that came after `run` found the list empty.
      if (entries.length > 0 && retry === undefined && !closed) start();
    });
  }

  return {
    /**
     * Queues a write. Resolves with `done`, with `lost`, or with `later` when the store is away (it is written once the store
     * is back). Never rejects.
     */
    write(write: Write): Promise<"done" | "lost" | "later"> {
      if (closed) return Promise.resolve("lost");
      return new Promise((resolve) => {
        entries.push({ write, settle: resolve });
        if (retry === undefined) start();
        else resolve("later");
      });
    },
    /** Number of writes that are not done yet. */
    get pending(): number {
      return entries.length;
    },
    /** Resolves when nothing is pending, or the store is away. */
    async settled(): Promise<void> {
      while (running !== undefined) await running;
    },
    close,
  };
}
