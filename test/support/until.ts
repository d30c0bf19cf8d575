/**
 * Polls a condition that has no event, instead of sleeping for a fixed time. Also works outside Vitest, in processes that tests
 * start.
 */
import { setTimeout as delay } from "node:timers/promises";

const POLL_MS = 20;

/**
 * Resolves with the first value of `probe` that is neither undefined nor false. Rejects after `timeoutMs` with an error that
 * names `what` was awaited and has the last failure of `probe` as its cause; until then failures of `probe` are ignored.
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
    await delay(POLL_MS);
  }
}
