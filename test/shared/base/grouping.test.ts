import { expect, test } from "vitest";
import { countEach, getOrAdd, groupBy } from "../../../shared/base/grouping.ts";

test("groups and their items are in the order in which they come", () => {
  const groups = groupBy(["bee", "ant", "bear", "ape"], ([first]) => first);
  expect([...groups]).toEqual([
    ["b", ["bee", "bear"]],
    ["a", ["ant", "ape"]],
  ]);
});

test("equal items are counted", () => {
  expect([...countEach(["b", "a", "b"])]).toEqual([
    ["b", 2],
    ["a", 1],
  ]);
});

test("a missing value is made once", () => {
  const map = new Map<string, string[]>();
  const first = getOrAdd(map, "a", () => []);
  first.push("one");
  expect(getOrAdd(map, "a", () => [])).toBe(first);
  expect([...map]).toEqual([["a", ["one"]]]);
});
