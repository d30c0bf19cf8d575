import fc from "fast-check";
import { expect, test } from "vitest";
import { BoundedMap, BoundedSet } from "../../../shared/base/bounded.ts";

test("a map with its most entries drops the one that was set longest ago", () => {
  const map = new BoundedMap<string, number>(2);
  map.set("a", 1).set("b", 2);
  map.get("a");
  map.set("c", 3);
  expect([...map]).toEqual([
    ["b", 2],
    ["c", 3],
  ]);
});

test("an entry that is set again counts as new, and drops no other", () => {
  const map = new BoundedMap<string, number>(2);
  map.set("a", 1).set("b", 2).set("a", 3);
  expect([...map.keys()]).toEqual(["b", "a"]);
  map.set("c", 4);
  expect([...map]).toEqual([
    ["a", 3],
    ["c", 4],
  ]);
});

test("a set drops the oldest, and tells what is new", () => {
  const set = new BoundedSet<string>(2);
  expect([set.addNew("a"), set.addNew("b"), set.addNew("a")]).toEqual([true, true, false]);
  set.add("c");
  expect([...set]).toEqual(["b", "c"]);
  set.add("b").add("d");
  expect([...set]).toEqual(["b", "d"]);
});

test("whatever is set, deleted and cleared, a map has the newest entries in order", () => {
  const step = fc.oneof(
    fc.record({ set: fc.nat(12) }),
    fc.record({ delete: fc.nat(12) }),
    fc.constant("clear" as const),
  );
  fc.assert(
    fc.property(
      fc.array(fc.oneof({ weight: 20, arbitrary: step }), { maxLength: 300 }),
      (steps) => {
        const map = new BoundedMap<number, number>(5);
        let model: number[] = [];
        for (const one of steps) {
          if (one === "clear") {
            map.clear();
            model = [];
          } else if ("set" in one) {
            map.set(one.set, one.set);
            model = [...model.filter((key) => key !== one.set), one.set].slice(-5);
          } else {
            map.delete(one.delete);
            model = model.filter((key) => key !== one.delete);
          }
          expect([...map.keys()]).toEqual(model);
        }
      },
    ),
  );
});
