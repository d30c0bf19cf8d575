/**
 * Chance that can be repeated: the same seed draws the same numbers on every machine and version of Node.
 */
import { mulberry32 } from "../support/mulberry32.ts";

export interface Random {
  /** 0 to below 1. */
  next(): number;
  /** `from` to `to`, both included, whole numbers. */
  int(from: number, to: number): number;
  /** `from` to below `to`. */
  between(from: number, to: number): number;
  /** True once in `odds` times, on average. */
  oneIn(odds: number): boolean;
  /** One of `items`, which are not empty. */
  pick<T>(items: readonly T[]): T;
}

export function createRandom(seed: number): Random {
  const next = mulberry32(seed ^ 0x9e3779b9);
  const int = (from: number, to: number): number => from + Math.floor(next() * (to - from + 1));
  // Seeds that are neighbours begin alike.
  for (let i = 0; i < 8; i++) next();
  return {
    next,
    int,
    between: (from, to) => from + next() * (to - from),
    oneIn: (odds) => next() * odds < 1,
    pick: (items) => items[int(0, items.length - 1)] as (typeof items)[number],
  };
}
