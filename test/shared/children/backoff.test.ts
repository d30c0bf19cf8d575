/** The delay before a process that ended is started again. */
import { expect, test } from "vitest";
import {
  afterEnd,
  type BackOff,
  isFailing,
  NO_BACK_OFF,
  STEADY_MS,
} from "../../../shared/children/backoff.ts";

const MIDDLE = 0.5;

function delays(ranMs: readonly number[], random = MIDDLE): number[] {
  let backOff: BackOff = NO_BACK_OFF;
  return ranMs.map((ran) => {
    const { next, delayMs } = afterEnd(backOff, ran, random);
    backOff = next;
    return delayMs;
  });
}

test("each end in a row doubles the delay, from half a second up to half a minute, without a limit of attempts", () => {
  expect(delays(Array(9).fill(0))).toEqual([
    500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000,
  ]);
  expect(delays(Array(2000).fill(0)).at(-1)).toBe(30_000);
});

test("a run of a minute resets the delay", () => {
  expect(delays([0, 0, STEADY_MS - 1, STEADY_MS, 0])).toEqual([500, 1000, 2000, 500, 1000]);
});

test("jitter changes the delay by a fifth at most, and never beyond half a minute", () => {
  expect(delays([0], 0)).toEqual([400]);
  expect(delays([0], 0.999_999)).toEqual([600]);
  expect(Math.max(...delays(Array(9).fill(0), 0.999_999))).toBe(30_000);
});

test("a process is failing after three ends in a row", () => {
  expect([0, 1, 2, 3, 4].map((ends) => isFailing({ ends }))).toEqual([
    false,
    false,
    false,
    true,
    true,
  ]);
});
