/**
 * A clock that tests control: time only passes in `advance`, which runs due timers in order.
 */
import type { Clock, Timer } from "../../shared/base/clock.ts";

export interface StepClock extends Clock {
  advance(ms: number): void;
  /** Sets the wall clock only, as an operator or a time server does. */
  setWall(wallMs: number): void;
}

export function createStepClock(startWallMs = Date.UTC(2030, 0, 1)): StepClock {
  const timers = new Set<{ dueMs: number; periodMs?: number; action: () => void }>();
  let nowMs = 1000;
  let wallAtZeroMs = startWallMs - nowMs;

  function add(delayMs: number, action: () => void, periodMs?: number): Timer {
    const timer = { dueMs: nowMs + delayMs, action, ...(periodMs !== undefined && { periodMs }) };
    timers.add(timer);
    return { cancel: () => timers.delete(timer) };
  }

  return {
    wallMs: () => wallAtZeroMs + nowMs,
    nowMs: () => nowMs,
    after: (delayMs, action) => add(delayMs, action),
    every: (periodMs, action) => add(periodMs, action, periodMs),
    setWall(wallMs) {
      wallAtZeroMs = wallMs - nowMs;
    },
    advance(ms) {
      const endMs = nowMs + ms;
      for (;;) {
        const [next] = [...timers]
          .filter((timer) => timer.dueMs <= endMs)
          .sort((a, b) => a.dueMs - b.dueMs);
        if (next === undefined) break;
        nowMs = Math.max(nowMs, next.dueMs);
        if (next.periodMs === undefined) timers.delete(next);
        else next.dueMs += next.periodMs;
        next.action();
      }
      nowMs = endMs;
    },
  };
}
