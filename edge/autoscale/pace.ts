/** The times of `ct-edge autoscale`, which follow from the one between two polls. Pure. */

const LONGEST_PAUSE_MS = 30_000;

/** After a step that failed. */
export function pauseMs(periodMs: number): number {
  return Math.max(periodMs, Math.min(LONGEST_PAUSE_MS, 6 * periodMs));
}

/** How long an autoscaler that was killed keeps others out: longer than a living one goes without asking. */
export function leadershipMs(periodMs: number): number {
  return pauseMs(periodMs) + 3 * periodMs;
}
