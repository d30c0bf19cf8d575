/**
 * Time limits by the thousand: one coarse timer looks through all of them, and setting one costs an assignment. A timer
 * per request would cost more than the request's head.
 */
import type { Clock } from "../../shared/base/clock.ts";
import type { BugReport } from "./transport.ts";

export interface Deadlines {
  /** A limit that is not set yet; `onPassed` is called when it passes. */
  create(onPassed: () => void): Deadline;
  close(): void;
}

export interface Deadline {
  /** Passes `delayMs` from now, up to two periods later. Replaces what was set. */
  set(delayMs: number): void;
  clear(): void;
  /** Gives it back; it never passes again. */
  close(): void;
}

/** How often all limits are looked at. */
const PERIOD_MS = 250;

export function createDeadlines(needs: { clock: Clock; reportBug: BugReport }): Deadlines {
  const { clock } = needs;
  const all = new Set<Entry>();
  // Coarse, so that setting a limit need not ask the system for the time.
  let nowMs = clock.nowMs();
  const timer = clock.every(PERIOD_MS, () => {
    nowMs = clock.nowMs();
    for (const entry of all) {
      if (entry.atMs > nowMs) continue;
      entry.atMs = Number.POSITIVE_INFINITY;
      try {
        entry.onPassed();
      } catch (error) {
        // One connection's trouble must not be that of all others.
        needs.reportBug(error);
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
