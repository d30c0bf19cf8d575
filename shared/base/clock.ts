/**
 * Time and timers as a value, so that tests can control them. Wall time is for people and tokens; intervals are measured on
 * the monotonic clock, because wall clocks jump.
 */

/** Timers do not keep the process alive. */
export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Wall time in ms since the epoch. Never compare it with another machine's. */
  wallMs(): number;
  /** Monotonic time in ms from an arbitrary start; never goes back. */
  nowMs(): number;
  after(delayMs: number, action: () => void): Timer;
  /** Calls `action` every `periodMs` until cancelled. */
  every(periodMs: number, action: () => void): Timer;
}

export const systemClock: Clock = {
  wallMs: () => Date.now(),
  nowMs: () => performance.now(),
  after(delayMs, action) {
    const timeout = setTimeout(action, delayMs).unref();
    return { cancel: () => clearTimeout(timeout) };
  },
  every(periodMs, action) {
    const interval = setInterval(action, periodMs).unref();
    return { cancel: () => clearInterval(interval) };
  },
};

export function sleep(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    clock.after(delayMs, resolve);
  });
}
