/**
 * Thousands of deadlines on one coarse timer, so that setting one costs an assignment. A timer per request would cost more
 * than parsing the request's head.
 */
import type { Clock } from "../../shared/base/clock.ts";
import type { BugReport } from "./transport.ts";

export interface Deadlines {
  /** A deadline that is not set yet; `onPassed` is called when it passes. */
  create(onPassed: () => void): Deadline;
  close(): void;
}

export interface Deadline {
  /** Passes `delayMs` from now, up to two periods late. Replaces the previous delay. */
  set(delayMs: number): void;
  clear(): void;
  /** Removes it; it never passes again. */
  close(): void;
}

/** How often the deadlines are checked. */
const PERIOD_MS = 250;

export function createDeadlines(deps: { clock: Clock; reportBug: BugReport }): Deadlines {
  const { clock } = deps;
  const all = new Set<Entry>();
  // Coarse, so that `set` need not read the clock.
  let nowMs = clock.nowMs();
  const timer = clock.every(PERIOD_MS, () => {
    nowMs = clock.nowMs();
    for (const entry of all) {
      if (entry.atMs > nowMs) continue;
      entry.atMs = Number.POSITIVE_INFINITY;
      try {
        entry.onPassed();
      } catch (error) {
        // A bug on one connection must not disturb the others.
        deps.reportBug(error);
      }
    }
  });

  return {
    create(onPassed) {
      const entry: Entry = { atMs: Number.POSITIVE_INFINITY, onPassed };
      all.add(entry);
      return {
        set(delayMs) {
          entry.atMs = nowMs + PERIOD_MS + delayMs;
        },
        clear() {
          entry.atMs = Number.POSITIVE_INFINITY;
        },
        close() {
          all.delete(entry);
        },
      };
    },
    close() {
      timer.cancel();
      all.clear();
    },
  };
}

interface Entry {
  atMs: number;
  readonly onPassed: () => void;
}
