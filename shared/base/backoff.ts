/** How long to wait before something that failed is tried again: twice as long after each failure, with jitter. Pure. */

export interface Backoff {
  /** Before jitter. */
  readonly firstMs: number;
  /** Before jitter. */
  readonly maxMs: number;
  /** A delay is multiplied by a random number between these two, so that those who failed together do not try again together. */
  readonly jitter: readonly [least: number, most: number];
}

/** Half of each delay is random. */
export const HALF_RANDOM = [0.5, 1] as const;

/** In ms. `failures`: in a row before this one. `random`: 0 to below 1. */
export function backoffMs(
  { firstMs, maxMs, jitter }: Backoff,
  failures: number,
  random: number = Math.random(),
): number {
  const [least, most] = jitter;
  return Math.min(firstMs * 2 ** failures, maxMs) * (least + random * (most - least));
}
