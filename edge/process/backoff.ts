/**
 * How long to wait before a process that ended is started again: longer each time, with chance in it so that processes
 * that failed together do not come back together. It never gives up. Pure.
 */

const FIRST_MS = 500;
const MAX_MS = 30_000;
/** A process that ran this long is well: the next delay is the first one again. */
export const STEADY_MS = 60_000;
/** Up to this share of a delay is added or taken away. */
const JITTER = 0.2;
/** Ends in a row, none after a steady run, from which on a process is called failing. */
const FAILING = 3;

export interface BackOff {
  /** Ends in a row without a steady run before. */
  readonly ends: number;
}

export const NO_BACK_OFF: BackOff = { ends: 0 };

/** What comes of one more end, after the process ran for `ranMs` (0: it did not come up). `random`: 0 to below 1. */
export function afterEnd(
  before: BackOff,
  ranMs: number,
  random: number,
): { readonly next: BackOff; readonly delayMs: number } {
  const ends = ranMs >= STEADY_MS ? 1 : before.ends + 1;
  const delayMs = Math.min(FIRST_MS * 2 ** (ends - 1), MAX_MS);
  const jitter = 1 + JITTER * (2 * random - 1);
  return { next: { ends }, delayMs: Math.min(Math.round(delayMs * jitter), MAX_MS) };
}

export function isFailing({ ends }: BackOff): boolean {
  return ends >= FAILING;
}
