/** The pure parts of the long haul: what counts as growth, and which form a size belongs to. */
import { expect, test } from "vitest";
import { isPart, selector, size } from "../../bench/support/sizes.ts";
import { growthOf, lastTwoThirds } from "../../bench/support/soak/growth.ts";

const TIMES = Array.from({ length: 31 }, (_, i) => i * 20);

test("memory that rises steadily has grown by its slope times the duration", () => {
  const points = TIMES.map((atS) => ({ atS, value: 100 + atS / 100, load: 5 }));
  const { total, mean, percent } = growthOf(points);
  expect(total).toBeCloseTo(6);
  expect(mean).toBeCloseTo(103);
  expect(percent).toBeCloseTo((100 * 6) / 103);
});

test("memory that follows the number of connections has not grown, also when there are more of them at the end", () => {
  const points = TIMES.map((atS, i) => {
    const load = 10 + Math.floor(i / 3) + (i % 4);
    return { atS, value: 50 + 2 * load, load };
  });
  expect(growthOf(points).total).toBeCloseTo(0);
});

test("figures that do not change have not grown", () => {
  expect(growthOf(TIMES.map((atS) => ({ atS, value: 29, load: 0 }))).percent).toBe(0);
});

test("the first third of the time, in which caches fill, is left out", () => {
  const kept = lastTwoThirds([0, 100, 200, 300, 600].map((atS) => ({ atS })));
  expect(kept.map(({ atS }) => atS)).toEqual([200, 300, 600]);
});

test("without a variable a size is that of the long form, and all parts are selected", () => {
  expect(size("BENCH_UNSET", { long: 5, short: 1 })).toBe(5);
  expect(selector("BENCH_UNSET", { short: ["a"] })("b")).toBe(true);
  expect(isPart("BENCH_UNSET")).toBe(false);
});

test("a variable sets a size, and selects the parts whose names contain one of its words", () => {
  withVariable("BENCH_TEST", "7", () => {
    expect(size("BENCH_TEST", { long: 5, short: 1 })).toBe(7);
  });
  withVariable("BENCH_TEST", "get|Echo", () => {
    const isSelected = selector("BENCH_TEST");
    expect(["small GET, 6,000/s", "WebSocket echo", "idle"].filter(isSelected)).toEqual([
      "small GET, 6,000/s",
      "WebSocket echo",
    ]);
    expect(isPart("BENCH_TEST")).toBe(true);
    expect(() => size("BENCH_TEST", { long: 5, short: 1 })).toThrow(
      "BENCH_TEST=get|Echo is not a number",
    );
  });
});

function withVariable(name: string, value: string, act: () => void): void {
  process.env[name] = value;
  try {
    act();
  } finally {
    delete process.env[name];
  }
}
