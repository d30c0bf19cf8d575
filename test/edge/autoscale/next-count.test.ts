/** How many workers an autoscaler goes to. */
import { expect, test } from "vitest";
import { nextCount } from "../../../edge/autoscale/next-count.ts";

const BOUNDS = { min: 2, max: 6 };

test.each([
  { why: "what is wanted", own: 2, wanted: 4, next: 4 },
  { why: "what is wanted, down in one step", own: 6, wanted: 3, next: 3 },
  { why: "no more than --max", own: 5, wanted: 40, next: 6 },
  { why: "no fewer than --min", own: 2, wanted: 1, next: 2 },
  { why: "what workers elsewhere leave", own: 2, wanted: 7, others: 3, next: 4 },
  { why: "--min, also when those elsewhere suffice", own: 3, wanted: 4, others: 9, next: 2 },
  { why: "one more for one that drains", own: 3, wanted: 3, missing: 1, next: 4 },
  { why: "--max, also when one drains", own: 6, wanted: 6, missing: 1, next: 6 },
  { why: "up to --min at once", own: 0, wanted: 1, next: 2 },
  { why: "back to --max when an operator started more", own: 9, wanted: 9, next: 6 },
  { why: "no change when nothing is known", own: 4, wanted: undefined, next: 4 },
  { why: "no change when nothing is known, also above --max", own: 9, wanted: undefined, next: 9 },
  { why: "--min when nothing is known", own: 1, wanted: undefined, next: 2 },
])(
  "the number of workers goes to $why: $own -> $next",
  ({ own, others = 0, missing = 0, wanted, next }) => {
    expect(nextCount({ own, missing, others }, wanted, BOUNDS)).toBe(next);
  },
);
