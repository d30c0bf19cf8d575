/**
 * How evenly sessions are spread over workers, and the moves that even them out. Pure.
 */
import type { WorkerId } from "../../shared/base/ids.ts";

/** A worker that takes new sessions. */
export interface Loaded {
  readonly id: WorkerId;
  readonly sessions: number;
}

export interface Move {
  readonly from: WorkerId;
  readonly to: WorkerId;
  readonly count: number;
}

/** Below this ratio nothing is moved. The load cap for sessions without a key is the same. */
export const GOOD_RATIO = 1.25;

/** Sessions of the fullest worker to the mean: 1 when all have the same number, undefined without sessions. */
export function maxToMean(sessions: readonly number[]): number | undefined {
  const total = sessions.reduce((sum, count) => sum + count, 0);
  return total === 0 ? undefined : (Math.max(...sessions) * sessions.length) / total;
}

/** `maxToMean` of the workers; 1 without sessions. */
export function ratioOf(workers: readonly Loaded[]): number {
  return maxToMean(workers.map(({ sessions }) => sessions)) ?? 1;
}

/**
 * The fewest moves of single sessions, from the fullest to the emptiest worker, after which the fullest has at most
 * `GOOD_RATIO` times the mean, or as few as whole sessions allow. Empty when it has already.
 */
export function planRebalance(workers: readonly Loaded[]): readonly Move[] {
  const counts = new Map(workers.map(({ id, sessions }) => [id, sessions]));
  const mean = workers.reduce((sum, { sessions }) => sum + sessions, 0) / workers.length;
  const moves = new Map<string, Move>();
  for (;;) {
    const byCount = [...counts].sort(([, a], [, b]) => a - b);
    const [to, least] = byCount[0] ?? [];
    const [from, most] = byCount.at(-1) ?? [];
    if (to === undefined || from === undefined || least === undefined || most === undefined) break;
    if (most <= GOOD_RATIO * mean || most - least <= 1) break;
    counts.set(from, most - 1).set(to, least + 1);
    const pair = `${from}\n${to}`;
    moves.set(pair, { from, to, count: (moves.get(pair)?.count ?? 0) + 1 });
  }
  return [...moves.values()];
}
