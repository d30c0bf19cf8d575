import { expect, test } from "vitest";
import { cellsOf, deliveredPerSecond, parseShape } from "../../bench/support/relay/matrix.ts";

test("each edit is delivered to all others of its session", () => {
  expect(deliveredPerSecond({ sessions: 100, people: 3 }, 2)).toBe(100 * 3 * 2 * 2);
  expect(parseShape("100x3")).toEqual({ sessions: 100, people: 3 });
  expect(() => parseShape("100x1")).toThrow("not a number of sessions and of people");
});

test("the rounds of a row are those of its cells, of each program", () => {
  const rounds = new Map([
    [
      "ours",
      [
        { "2 edits/s: µs": 1, "8 edits/s: µs": 2 },
        { "2 edits/s: µs": 3, "8 edits/s: µs": 4 },
      ],
    ],
    ["theirs", [{ "2 edits/s: µs": 5, "8 edits/s: µs": 6 }]],
  ]);
  const cells = cellsOf(rounds);
  expect([...cells.keys()]).toEqual(["2 edits/s", "8 edits/s"]);
  expect(cells.get("8 edits/s")?.get("ours")).toEqual([{ µs: 2 }, { µs: 4 }]);
  expect(cells.get("2 edits/s")?.get("theirs")).toEqual([{ µs: 5 }]);
});

test("figures without cells stay as they are", () => {
  const rounds = new Map([["ours", [{ KiB: 1 }]]]);
  expect(cellsOf(rounds).get("")?.get("ours")).toEqual([{ KiB: 1 }]);
});
