/** One version: dashboards that ask for the old outcome of `balancer.misdirected` still get its counts. */
import { expect, test } from "vitest";
import { countMisdirected } from "../../../balancer/proxy/former-outcome-name.ts";
import { createCounters } from "../../../shared/metrics/metrics.ts";

test("a misrouted request is counted under the new and the old outcome, others under one", () => {
  const counters = createCounters();
  countMisdirected(counters, "misrouted");
  countMisdirected(counters, "replayed");
  expect(counters.snapshot()).toEqual({
    "balancer.misdirected{misrouted}": 1,
    "balancer.misdirected{not-meant}": 1,
    "balancer.misdirected{replayed}": 1,
  });
});
