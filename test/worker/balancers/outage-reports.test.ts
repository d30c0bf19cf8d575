import fc from "fast-check";
import { expect, test } from "vitest";
import type { WorkerId } from "../../../shared/base/ids.ts";
import {
  createOutageReports,
  isStoreAwayForAll,
  type OutageReport,
  REPORT_MS,
} from "../../../worker/balancers/outage-reports.ts";
import { createStepClock } from "../../support/step-clock.ts";

const ONE = "balancer-1" as WorkerId;
const OTHER = "balancer-2" as WorkerId;

test("the store counts as away for all when every balancer heard reports it, and not when none is heard", () => {
  const outageReports = createOutageReports(createStepClock());
  expect(outageReports.isStoreAwayForAll).toBe(false);
  outageReports.note(ONE, "away");
  expect(outageReports.isStoreAwayForAll).toBe(true);
  outageReports.note(OTHER, "up");
  expect(outageReports.isStoreAwayForAll).toBe(false);
  outageReports.note(OTHER, "away");
  expect(outageReports.isStoreAwayForAll).toBe(true);
});

test("the latest report of a balancer counts", () => {
  const outageReports = createOutageReports(createStepClock());
  outageReports.note(ONE, "away");
  outageReports.note(ONE, "up");
  expect(outageReports.isStoreAwayForAll).toBe(false);
});

test("the report of a balancer that is no longer heard does not count", () => {
  const clock = createStepClock();
  const outageReports = createOutageReports(clock);
  outageReports.note(ONE, "up");
  clock.advance(REPORT_MS);
  outageReports.note(OTHER, "away");
  expect(outageReports.isStoreAwayForAll).toBe(false);
  clock.advance(1);
  expect(outageReports.isStoreAwayForAll).toBe(true);
  clock.advance(REPORT_MS);
  expect(outageReports.isStoreAwayForAll).toBe(false);
});

test("after a worker was suspended, its earlier reports do not count", () => {
  const clock = createStepClock();
  const outageReports = createOutageReports(clock);
  outageReports.note(ONE, "away");
  clock.advance(20_000);
  expect(outageReports.isStoreAwayForAll).toBe(false);
});

test("the number of reports is bounded, and the balancer heard longest ago is forgotten first", () => {
  const outageReports = createOutageReports(createStepClock());
  outageReports.note(ONE, "up");
  for (let i = 0; i < 999; i++) outageReports.note(`b${i}` as WorkerId, "away");
  expect(outageReports.isStoreAwayForAll).toBe(false);
  outageReports.note("one more" as WorkerId, "away");
  expect(outageReports.isStoreAwayForAll).toBe(true);
});

test("one recent report of a store that is up outweighs any number of others, in any order", () => {
  const word = fc.record({
    store: fc.constantFrom<OutageReport["store"]>("up", "away"),
    atMs: fc.integer({ min: 0, max: 10_000 }),
  });
  fc.assert(
    fc.property(fc.array(word), (words) => {
      const fresh = words.filter(({ atMs }) => atMs >= 10_000 - REPORT_MS);
      const said = isStoreAwayForAll(words, 10_000);
      expect(said).toBe(fresh.length > 0 && !fresh.some(({ store }) => store === "up"));
    }),
  );
});
