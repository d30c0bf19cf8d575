import { expect, test } from "vitest";
import { describePowerLaw, fitLine, fitPowerLaw } from "../../bench/support/growth-law.ts";

const SIZES = [10, 30, 100, 1000];

test("a line is found in figures that are one, whatever the distances of the sizes", () => {
  const line = fitLine(SIZES.map((size) => ({ size, figure: 5 + 2 * size })));
  expect(line.base).toBeCloseTo(5);
  expect(line.perUnit).toBeCloseTo(2);
});

test("a line through a single size has no slope", () => {
  expect(fitLine([{ size: 3, figure: 4 }]).perUnit).toBeNaN();
});

test("a power law has the exponent 0 for what stays the same, and 2 for a square", () => {
  expect(fitPowerLaw(SIZES.map((size) => ({ size, figure: 7 }))).exponent).toBeCloseTo(0);
  const square = fitPowerLaw(SIZES.map((size) => ({ size, figure: 0.5 * size ** 2 })));
  expect(square.exponent).toBeCloseTo(2);
  expect(square.factor).toBeCloseTo(0.5);
  expect(describePowerLaw(square)).toBe("0.50 × n^2.00");
});
