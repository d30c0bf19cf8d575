/**
 * Requests that are kept back until a worker can take them: how long, and how many at a time. Each keeps its body, and
 * strangers can cause some (they may sign in), so their number is limited.
 */
import type { Clock, Timer } from "../../shared/base/clock.ts";

export interface RetryQueue {
  /** Calls `action` a little later; undefined when too many are kept back already. */
  hold(action: () => void): Timer | undefined;
  /** Requests that are kept back now. */
  readonly size: number;
}

/** Between two tries. */
const STEP_MS = 250;
/** With bodies of at most 64 KiB: 128 MiB. */
const MAX_HELD = 2000;

export function createRetryQueue(needs: { clock: Clock; maxHeld?: number }): RetryQueue {
  const maxHeld = needs.maxHeld ?? MAX_HELD;
  let held = 0;
  return {
    hold(action) {
      if (held >= maxHeld) return undefined;
      held++;
      let isOver = false;
      const shutDown = (): boolean => {
        if (isOver) return false;
        isOver = true;
        held--;
        return true;
      };
      const timer = needs.clock.after(STEP_MS, () => {
        if (shutDown()) action();
      });
      return {
        cancel() {
          shutDown();
          timer.cancel();
        },
      };
    },
    get size() {
      return held;
    },
  };
}
