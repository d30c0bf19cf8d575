/** The number of workers that follows the demand, in virtual time: single cases, then thousands of random loads. */
import { describe, expect, test } from "vitest";
import { type Stabilized, stabilize, type Windows } from "../../../shared/autoscale/stabilize.ts";
import { mulberry32 } from "../../support/mulberry32.ts";

const WINDOWS: Windows = { upMs: 15_000, downMs: 300_000 };

/** Feeds one sample a second; the numbers that are wanted after each. */
function follow(
  demands: readonly number[],
  { current = 2, windows = WINDOWS }: { current?: number; windows?: Windows } = {},
): number[] {
  let state: Stabilized | undefined;
  return demands.map((workers, second) => {
    state = stabilize(state, { atMs: second * 1000, workers }, current, windows);
    return state.wanted;
  });
}

const steady = (workers: number, seconds: number): number[] => Array(seconds).fill(workers);

describe("the number of wanted workers", () => {
  test("the number of wanted workers is that of the workers that there are until the demand is known for long enough", () => {
    expect(follow(steady(9, 15), { current: 4 })).toEqual(steady(4, 15));
    expect(follow(steady(0.1, 299), { current: 4 }).at(-1)).toBe(4);
  });

  test("the number of wanted workers rises when the demand was higher during the whole window", () => {
    const wanted = follow([...steady(2, 20), ...steady(4.2, 20)]);
    expect(wanted.slice(0, 35)).toEqual(steady(2, 35));
    expect(wanted.at(-1)).toBe(5);
  });

  test("the number of wanted workers does not rise for a peak that is shorter than the window", () => {
    expect(follow([...steady(1, 20), ...steady(9, 15), ...steady(1, 20)])).not.toContain(9);
  });

  test("the number of wanted workers falls when the demand was lower for much longer, with a tenth to spare", () => {
    const wantedWith = (workers: number): number | undefined =>
      follow([...steady(workers, 301)], { current: 5 }).at(-1);
    expect(wantedWith(3.6)).toBe(4);
    expect(wantedWith(3.7)).toBe(5);
    expect(wantedWith(0)).toBe(1);
  });

  test("the number of wanted workers does not fall while a peak is in the window", () => {
    const demands = [...steady(1, 100), ...steady(4, 1), ...steady(1, 250)];
    expect(follow(demands, { current: 4 }).at(-1)).toBe(4);
  });

  test("the number of wanted workers does not change when samples are missing, and counts the windows again", () => {
    let state = stabilize(undefined, { atMs: 0, workers: 1 }, 3, WINDOWS);
    for (let s = 1; s < 299; s++) {
      state = stabilize(state, { atMs: s * 1000, workers: 1 }, 3, WINDOWS);
    }
    state = stabilize(state, { atMs: 310_000, workers: 1 }, 3, WINDOWS);
    expect(state).toMatchObject({ wanted: 3, sinceMs: 310_000 });
    expect(state.samples).toHaveLength(1);
  });

  test("the number of wanted workers follows at once with windows of 0", () => {
    const windows = { upMs: 0, downMs: 0 };
    expect(follow([1, 4.5, 1.2, 3], { current: 1, windows })).toEqual([1, 5, 2, 3]);
  });
});

// --- random loads ---

/** A demand that walks, jumps and is noisy, like that of a company's day. */
function randomDemand(random: () => number, seconds: number): number[] {
  let level = random() * 10;
  let slope = 0;
  const noise = random() * 0.5;
  return Array.from({ length: seconds }, () => {
    if (random() < 0.01) slope = (random() - 0.5) * 0.1;
    if (random() < 0.002) level = random() * 20;
    level = Math.min(40, Math.max(0, level + slope));
    return Math.max(0, level + (random() - 0.5) * noise);
  });
}

test("over 10,000 random loads the wish never falls below a lasting demand, never rises above a recent one, and seldom turns", () => {
  const windows = { upMs: 15_000, downMs: 60_000 };
  for (let seed = 1; seed <= 10_000; seed++) {
    const random = mulberry32(seed);
    const demands = randomDemand(random, 150);
    const current = 1 + Math.floor(random() * 12);
    const wanted = follow(demands, { current, windows });
    let last = current;
    let lastDirection = 0;
    let turnedAt = Number.NEGATIVE_INFINITY;
    for (const [second, count] of wanted.entries()) {
      if (count === last) continue;
      const of = (ms: number): number[] =>
        demands.slice(Math.max(0, second - ms / 1000), second + 1);
      const direction = Math.sign(count - last);
      if (direction > 0) {
        // No more than the load has needed all the time.
        if (count > Math.ceil(Math.min(...of(windows.upMs)))) fail(seed, second, "too many");
      } else if (count < Math.max(...of(windows.downMs))) fail(seed, second, "too few");
      if (direction < 0 && lastDirection > 0 && second - turnedAt < windows.downMs / 1000) {
        fail(seed, second, "it turned down before the window had passed");
      }
      if (direction !== lastDirection) turnedAt = second;
      lastDirection = direction;
      last = count;
    }
    // In the end it suffices for what was needed all the time.
    const lasting = Math.min(...demands.slice(-16));
    if ((wanted.at(-1) ?? 0) < lasting) fail(seed, demands.length, "too few for the present load");
  }
});

function fail(seed: number, second: number, what: string): never {
  throw new Error(`seed ${seed}, second ${second}: ${what}`);
}
