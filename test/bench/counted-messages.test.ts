/** The counters of the benchmark `moves` and of the tests of moves detect each fault. */
import { expect, test } from "vitest";
import { numberedContent, readNumbered } from "../support/counted/numbered-content.ts";
import { Tally } from "../support/counted/tally.ts";

function tallyOf(...numbers: number[]): Tally {
  const tally = new Tally();
  for (const number of numbers) tally.add(number);
  return tally;
}

test.each([
  { arrived: [0, 1, 2, 3], missing: 0, doubled: 0, reordered: 0 },
  { arrived: [], missing: 4, doubled: 0, reordered: 0 },
  { arrived: [0, 1], missing: 2, doubled: 0, reordered: 0 },
  { arrived: [2, 3], missing: 2, doubled: 0, reordered: 0 },
  { arrived: [0, 2, 1, 3], missing: 0, doubled: 0, reordered: 1 },
  { arrived: [0, 1, 1, 2, 3, 3, 3], missing: 0, doubled: 3, reordered: 0 },
  { arrived: [3, 0, 0], missing: 2, doubled: 1, reordered: 1 },
])(
  "of four messages, the arrivals $arrived are $missing missing, $doubled doubled, $reordered reordered",
  ({ arrived, missing, doubled, reordered }) => {
    const tally = tallyOf(...arrived);
    expect({
      missing: tally.missingOf(4),
      doubled: tally.doubled,
      reordered: tally.reordered,
    }).toEqual({ missing, doubled, reordered });
  },
);

test("a message that arrives late is no longer missing", () => {
  const tally = tallyOf(0, 2);
  expect(tally.missingOf(3)).toBe(1);
  tally.add(1);
  expect(tally.missingOf(3)).toBe(0);
});

test("contents of each size are read as they were made, and a wrong or missing byte is detected", () => {
  for (const number of [0, 1, 22, 300]) {
    const content = numberedContent(7, number);
    expect(readNumbered(content)).toEqual({ sender: 7, number, isIntact: true });
    expect(readNumbered(content.subarray(0, -1)).isIntact).toBe(false);
    content[content.length - 1] = (content.at(-1) ?? 0) ^ 1;
    expect(readNumbered(content).isIntact).toBe(false);
  }
});
