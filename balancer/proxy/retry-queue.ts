/**
 * Requests that wait until a worker can take them. Each keeps its body, and unauthenticated clients can cause some (a
 * sign-in waits), so their number is limited.
 */
import type { Clock, Timer } from "../../shared/base/clock.ts";

export interface RetryQueue {
  /** Calls `retry` a little later; undefined when the queue is full. */
  hold(retry: () => void): Timer | undefined;
  /** Requests that wait now. */
  readonly size: number;
}

/** Between two attempts. */
const RETRY_MS = 250;
/** With bodies of at most 64 KiB: 128 MiB. */
const MAX_HELD = 2000;

export function createRetryQueue(deps: { clock: Clock; maxHeld?: number }): RetryQueue {
  const maxHeld = deps.maxHeld ?? MAX_HELD;
  let held = 0;
  return {
    hold(retry) {
      if (held >= maxHeld) return undefined;
      held++;
      let isOver = false;
      const leave = (): boolean => {
        if (isOver) return false;
        isOver = true;
        held--;
        return true;
      };
      const timer = deps.clock.after(RETRY_MS, () => {
        if (leave()) retry();
      });
      return {
        cancel() {
          leave();
          timer.cancel();
        },
      };
    },
    get size() {
      return held;
    },
  };
}
