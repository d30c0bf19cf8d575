/**
 * Polls a condition that has no event, instead of sleeping for a fixed time, and limits how long something may take. Also works
 * outside Vitest, in processes that tests start.
 */
import { setTimeout as delay } from "node:timers/promises";

/** The first polls come quickly, because most conditions hold soon. */
const FIRST_POLL_MS = 1;
const POLL_MS = 20;
/** A probe that asks processes takes time from them: it waits for so many times as long as it took, within limits. */
const REST = 4;
const MAX_POLL_MS = 100;

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
  for (let pollMs = FIRST_POLL_MS; ; pollMs = Math.min(POLL_MS, 2 * pollMs)) {
    const startMs = performance.now();
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
    const restMs = REST * (performance.now() - startMs);
    await delay(Math.min(MAX_POLL_MS, Math.max(pollMs, restMs)));
  }
}

/** Rejects after `timeoutMs` with an error that names `what` was awaited, if `promise` has not settled by then. */
export async function within<T>(what: string, timeoutMs: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${timeoutMs} ms: ${what}`)), timeoutMs);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
