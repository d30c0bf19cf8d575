/**
 * Thousands of deadlines on one coarse timer, so that setting one costs an assignment. A timer per request would cost more
 * than parsing the request's head.
 */
import type { Clock } from "../../shared/base/clock.ts";
import { type Listed, OpenList } from "./open-list.ts";
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
  const all = new OpenList<CoarseDeadline>();
  const time: CoarseTime = { nowMs: clock.nowMs() };
  const timer = clock.every(PERIOD_MS, () => {
    time.nowMs = clock.nowMs();
    for (const deadline of all.all()) {
      if (deadline.atMs > time.nowMs || deadline.place < 0) continue;
      deadline.clear();
      try {
        deadline.onPassed();
      } catch (error) {
        // A bug on one connection must not disturb the others.
        deps.reportBug(error);
      }
    }
  });

  return {
    create(onPassed) {
      const deadline = new CoarseDeadline(onPassed, time, all);
      all.add(deadline);
      return deadline;
    },
    close() {
      timer.cancel();
      all.clear();
    },
  };
}

/** The time of the last check, so that setting a deadline need not read the clock. */
interface CoarseTime {
  nowMs: number;
}

class CoarseDeadline implements Deadline, Listed {
  place = -1;
  atMs = Number.POSITIVE_INFINITY;
  readonly onPassed: () => void;
  readonly #time: CoarseTime;
  readonly #all: OpenList<CoarseDeadline>;

  constructor(onPassed: () => void, time: CoarseTime, all: OpenList<CoarseDeadline>) {
    this.onPassed = onPassed;
    this.#time = time;
    this.#all = all;
  }

  set(delayMs: number): void {
    this.atMs = this.#time.nowMs + PERIOD_MS + delayMs;
  }

  clear(): void {
    this.atMs = Number.POSITIVE_INFINITY;
  }

  close(): void {
    this.#all.delete(this);
  }
}
