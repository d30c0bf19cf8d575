/**
 * Waiting for something that is not an event here: asks again every few milliseconds, never sleeps for a fixed time.
 * Also works outside Vitest, in the processes that tests start.
 */
import { setTimeout as delay } from "node:timers/promises";

const ASK_AGAIN_MS = 20;

/**
 * Resolves with the first value of `probe` that is neither undefined nor false. Rejects after `timeoutMs` with an error
 * that says `what` was awaited, and with the last failure of `probe` as its cause; until then failures only mean "not yet".
 */
export async function until<T>(
  what: string,
  probe: () => T | Promise<T>,
  timeoutMs = 15_000,
): Promise<Exclude<T, undefined | false>> {
  const deadline = performance.now() + timeoutMs;
  let failure: unknown;
  for (;;) {
    try {
      const value = await probe();
      if (value !== undefined && value !== false) return value as Exclude<T, undefined | false>;
      failure = undefined;
    } catch (error) {
      failure = error;
    }
    if (performance.now() >= deadline) {
      throw new Error(`not within ${timeoutMs} ms: ${what}`, { cause: failure });
    }
    await delay(ASK_AGAIN_MS);
  }
}
