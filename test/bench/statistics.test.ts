/** The pure parts of the benchmarks: a wrong percentile or schedule would not be noticed in their figures. */
import { expect, test } from "vitest";
import { evenSchedule, withUnsent } from "../../bench/support/schedule.ts";
import { percentile, summarize, summarizeRatios } from "../../bench/support/statistics.ts";

test("a summary of rounds has their median, smallest and largest", () => {
  expect(summarize([5, 1, 3])).toEqual({ median: 3, min: 1, max: 5 });
  expect(summarize([5, 1, 3, 4])).toEqual({ median: 3.5, min: 1, max: 5 });
});

test("ratios are formed within a round, so that a slow minute in both does not change them", () => {
  expect(summarizeRatios([20, 200, 30], [10, 100, 10])).toEqual({ median: 2, min: 2, max: 3 });
});

test("a percentile is the smallest value that so many values do not exceed", () => {
  const oneToHundred = Array.from({ length: 100 }, (_, i) => 100 - i);
  expect(percentile(oneToHundred, 0.5)).toBe(50);
  expect(percentile(oneToHundred, 0.99)).toBe(99);
  expect(percentile([7], 0.99)).toBe(7);
  expect(percentile([], 0.5)).toBeNaN();
});

test("requests of an even schedule are due at equal distances from the start", () => {
  const schedule = evenSchedule(4, 2);
  expect(schedule.count).toBe(8);
  expect([0, 1, 7].map(schedule.dueMs)).toEqual([0, 250, 1750]);
});

test("requests that a slow proxy left no time to send count with their delay until the end", () => {
  const schedule = evenSchedule(10, 0.5);
  // Three of five were sent; those due at 300 and 400 ms still waited at 1,000 ms.
  expect(withUnsent([1, 2, 3], schedule, 3, 1000)).toEqual([1, 2, 3, 700, 600]);
});
