/** Counts that wait for the store's counters: what counts never waits for the store, and an outage loses nothing. */
import type { Clock, Timer } from "../base/clock.ts";
import { describeError } from "../base/errors.ts";
import { oneFlight } from "../base/one-flight.ts";
import type { Log } from "../logs/log.ts";
import type { Store } from "./store.ts";

const RETRY_MS = 1000;

export function createPendingCounts(deps: {
  readonly store: Pick<Store, "addToCounters">;
  readonly clock: Clock;
  readonly log: Log;
  /** What is counted, for the log. */
  readonly what: string;
  /** How long counts are collected before they are written. */
  readonly delayMs: number;
  /** Beyond this, only names that already wait still grow. */
  readonly maxNames: number;
}) {
  const { store, clock, log, what, delayMs, maxNames } = deps;
  let waiting = new Map<string, number>();
  let timer: Timer | undefined;

  function add(increments: Iterable<readonly [string, number]>): void {
    for (const [name, by] of increments) {
      if (waiting.has(name) || waiting.size < maxNames) {
        waiting.set(name, (waiting.get(name) ?? 0) + by);
      }
    }
  }

  function writeIn(ms: number): void {
    timer ??= clock.after(ms, () => {
      timer = undefined;
      void write();
    });
  }

  function cancelTimer(): void {
    timer?.cancel();
    timer = undefined;
  }

  const write = oneFlight(async () => {
    while (waiting.size > 0) {
      const batch = waiting;
      waiting = new Map();
      try {
        await store.addToCounters(Object.fromEntries(batch));
      } catch (error) {
        // The write may have succeeded although its response was lost; then it is counted twice. Losing counts would be worse,
        // because outages are more frequent than lost responses.
        add(batch);
        log.debug(
          { err: error, reason: describeError(error) },
          `cannot count ${what} now; will retry`,
        );
        writeIn(RETRY_MS);
        return;
      }
    }
  });

  return {
    /** Adds to counters, soon. Names that are too many are dropped, until others are written. */
    add(increments: Readonly<Record<string, number>>): void {
      add(Object.entries(increments));
      if (delayMs > 0) writeIn(delayMs);
      else void write();
    },
    /** Writes what waits. */
    async close(): Promise<void> {
      cancelTimer();
      await write();
      cancelTimer();
    },
  };
}
