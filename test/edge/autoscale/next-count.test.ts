/** How many workers an autoscaler goes to. */
import { expect, test } from "vitest";
import { nextCount } from "../../../edge/autoscale/next-count.ts";

const BOUNDS = { min: 2, max: 6 };

test.each([
  { why: "what is wanted", own: 2, wanted: 4, others: 0, next: 4 },
  { why: "one after the other down", own: 6, wanted: 2, others: 0, next: 5 },
  { why: "no more than --max", own: 5, wanted: 40, others: 0, next: 6 },
  { why: "no fewer than --min", own: 2, wanted: 1, others: 0, next: 2 },
  { why: "what workers elsewhere leave", own: 2, wanted: 7, others: 3, next: 4 },
  { why: "--min, also when those elsewhere suffice", own: 3, wanted: 4, others: 9, next: 2 },
  { why: "up to --min at once", own: 0, wanted: 1, others: 0, next: 2 },
  { why: "back to --max when an operator started more", own: 9, wanted: 9, others: 0, next: 8 },
  { why: "no change when nothing is known", own: 4, wanted: undefined, others: 0, next: 4 },
  { why: "--min when nothing is known", own: 1, wanted: undefined, others: 0, next: 2 },
])("goes to $why: $own -> $next", ({ own, others, wanted, next }) => {
  expect(nextCount({ own, others }, wanted, BOUNDS)).toBe(next);
});
