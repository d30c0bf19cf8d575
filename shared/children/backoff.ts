/**
 * The delay before a process that ended is started again: exponential with jitter, so that processes that failed together do
 * not restart together, and without a limit of attempts. Pure.
 */
import { type Backoff, backoffMs } from "../base/backoff.ts";

const MAX_MS = 30_000;
/** Up to a fifth of a delay is added or subtracted. */
const BACKOFF: Backoff = { firstMs: 500, maxMs: MAX_MS, jitter: [0.8, 1.2] };
/** A process that ran this long is healthy: the next delay is the first one again. */
export const STEADY_MS = 60_000;
/** A process is `failing` after this many ends in a row without a steady run. */
const FAILING = 3;

export interface BackOff {
  /** Ends in a row without a steady run. */
  readonly ends: number;
}

export const NO_BACK_OFF: BackOff = { ends: 0 };

/** After one more end of a process that ran for `ranMs` (0: it was never ready). `random`: 0 to below 1. */
export function afterEnd(
  before: BackOff,
  ranMs: number,
  random: number,
): { readonly next: BackOff; readonly delayMs: number } {
  const ends = ranMs >= STEADY_MS ? 1 : before.ends + 1;
  const delayMs = Math.round(backoffMs(BACKOFF, ends - 1, random));
  return { next: { ends }, delayMs: Math.min(delayMs, MAX_MS) };
}

export function isFailing({ ends }: BackOff): boolean {
  return ends >= FAILING;
}
