/** How many workers an autoscaler should run next, and when it does what. Pure. */

/** How many workers there are. */
export interface Fleet {
  /** Those that this autoscaler starts and stops. */
  readonly own: number;
  /** Of these, those that take no sessions: they drain, or keep failing. */
  readonly missing: number;
  /** Those of the same edge elsewhere that take sessions. */
  readonly others: number;
}

export interface Bounds {
  readonly min: number;
  readonly max: number;
}

/**
 * The number of own workers to go to, in one step: those that end together hand no session to each other, so each moves once.
 * `wanted`: of the whole edge; undefined when it is not known, then only what is missing to `min` is started.
 */
export function nextCount(
  { own, missing, others }: Fleet,
  wanted: number | undefined,
  { min, max }: Bounds,
): number {
  if (wanted === undefined) return Math.max(own, min);
  return Math.min(max, Math.max(min, wanted - others + missing));
}

// --- times, which follow from the one between two polls ---

const LONGEST_PAUSE_MS = 30_000;

/** After a step that failed. */
export function pauseMs(periodMs: number): number {
  return Math.max(periodMs, Math.min(LONGEST_PAUSE_MS, 6 * periodMs));
}

/** How long an autoscaler that was killed keeps others out: longer than a living one goes without asking. */
export function leadershipMs(periodMs: number): number {
  return pauseMs(periodMs) + 3 * periodMs;
}
