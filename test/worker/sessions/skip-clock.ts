/**
 * The machine's clock, which can skip time: sockets and stores work in real time, and a test that would wait for 30 s skips
 * them.
 */
import { type Clock, systemClock, type Timer } from "../../../shared/base/clock.ts";

export interface SkipClock extends Clock {
  /** Lets `ms` pass at once: every timer that falls due in them runs now, in order. */
  skip(ms: number): void;
}

interface Entry {
  dueMs: number;
  readonly action: () => void;
  timer: Timer;
}

export function createSkipClock(): SkipClock {
  const entries = new Set<Entry>();
  let skippedMs = 0;

  function nowMs(): number {
    return systemClock.nowMs() + skippedMs;
  }

  function after(delayMs: number, action: () => void): Timer {
    const entry: Entry = { dueMs: nowMs() + delayMs, action, timer: { cancel() {} } };
    arm(entry);
    entries.add(entry);
    return { cancel: () => remove(entry) };
  }

  function arm(entry: Entry): void {
    entry.timer = systemClock.after(Math.max(0, entry.dueMs - nowMs()), () => run(entry));
  }

  function remove(entry: Entry): void {
    entry.timer.cancel();
    entries.delete(entry);
  }

  function run(entry: Entry): void {
    remove(entry);
    entry.action();
  }

  return {
    wallMs: () => systemClock.wallMs() + skippedMs,
    nowMs,
    after,
    every(periodMs, action) {
      let timer = after(periodMs, again);
      function again(): void {
        timer = after(periodMs, again);
        action();
      }
      return { cancel: () => timer.cancel() };
    },
    skip(ms) {
      skippedMs += ms;
      const due = [...entries].filter((entry) => entry.dueMs <= nowMs());
      for (const entry of due.sort((a, b) => a.dueMs - b.dueMs)) {
        if (entries.has(entry)) run(entry);
      }
      for (const entry of entries) {
        entry.timer.cancel();
        arm(entry);
      }
    },
  };
}
