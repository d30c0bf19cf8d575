/**
 * The chance of the run that is under way, for code that asks Node for it: ids come from `node:crypto`, choices between two
 * workers from `Math.random`. model.test.ts puts `drawInt` in the place of `randomInt`.
 */
import type { Random } from "./random.ts";

let current: Random | undefined;

/** In place of `randomInt(max)`. */
export function drawInt(max: number): number {
  if (current === undefined) throw new Error("chance is drawn outside of a run");
  return current.int(0, max - 1);
}

/** Runs `run` with `random` in place of Node's own chance. One at a time. */
export async function withChance<T>(random: Random, run: () => Promise<T>): Promise<T> {
  const { random: own } = Math;
  const { stackTraceLimit } = Error;
  current = random;
  Math.random = () => random.next();
  // A store that is away is an error per question; where it was made says nothing here.
  Error.stackTraceLimit = 0;
  try {
    return await run();
  } finally {
    Math.random = own;
    Error.stackTraceLimit = stackTraceLimit;
    current = undefined;
  }
}
