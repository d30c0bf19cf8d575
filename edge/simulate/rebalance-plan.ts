/**
 * Which worker gives how many sessions to which other one, so that they have about the same number of them. Pure.
 */
import type { WorkerId } from "../../shared/base/ids.ts";
import { maxToMean } from "./max-to-mean.ts";

/** A worker that takes new sessions, and how many it has. */
export interface Loaded {
  readonly id: WorkerId;
  readonly sessions: number;
}

export interface Move {
  readonly from: WorkerId;
  readonly to: WorkerId;
  readonly count: number;
}

/** More evenly than this nothing is moved: the cap for sessions without a key is the same. */
export const GOOD_RATIO = 1.25;

/** Sessions of the fullest worker by the mean; 1 when there are none. */
export function ratioOf(workers: readonly Loaded[]): number {
  return maxToMean(workers.map(({ sessions }) => sessions)) ?? 1;
}

/**
 * The fewest moves of single sessions, from the fullest to the emptiest, after which the fullest has at most `GOOD_RATIO` of
 * the mean, or as little as whole sessions allow. Empty when that is so already.
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
