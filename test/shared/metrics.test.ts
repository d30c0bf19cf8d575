import { expect, test } from "vitest";
import { createCounters } from "../../shared/metrics.ts";

test("counts add up per series and over all series of a counter", () => {
  const counters = createCounters();
  counters.count("worker.joins", "accepted");
  counters.count("worker.joins", "accepted", 2);
  counters.count("worker.joins", "rejected");
  expect(counters.value("worker.joins", "accepted")).toBe(3);
  expect(counters.value("worker.joins")).toBe(4);
  expect(counters.snapshot()).toEqual({ "worker.joins{accepted}": 3, "worker.joins{rejected}": 1 });
});

test("tags beyond the limit are summed up, so that memory is bounded", () => {
  const counters = createCounters();
  for (let i = 0; i < 10_000; i++) counters.count("worker.joins", `tag-${i}`);
  expect(Object.keys(counters.snapshot()).length).toBeLessThanOrEqual(65);
  expect(counters.value("worker.joins")).toBe(10_000);
});
