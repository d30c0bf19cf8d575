/** One version: dashboards and alerts that ask for a tag value by its former name still get its counts. */
import { expect, test } from "vitest";
import { countRenamed } from "../../../shared/metrics/former-tags.ts";
import { createCounters } from "../../../shared/metrics/metrics.ts";

test("a session taken from an owner whose lease has expired is counted under the new and the old cause", () => {
  const counters = createCounters();
  countRenamed(counters, "worker.sessions_resumed", "lease-expired");
  countRenamed(counters, "worker.sessions_resumed", "restarted");
  expect(counters.snapshot()).toEqual({
    "worker.sessions_resumed{lease-expired}": 1,
    "worker.sessions_resumed{lease-gone}": 1,
    "worker.sessions_resumed{restarted}": 1,
  });
});

test("a session for which a drain finds no successor is counted under the new and the old outcome", () => {
  const counters = createCounters();
  countRenamed(counters, "worker.sessions_drained", "none");
  expect(counters.snapshot()).toEqual({
    "worker.sessions_drained{nobody}": 1,
    "worker.sessions_drained{none}": 1,
  });
});

test("a misrouted request is counted under the new and the old outcome, others under one", () => {
  const counters = createCounters();
  countRenamed(counters, "balancer.misdirected", "misrouted");
  countRenamed(counters, "balancer.misdirected", "replayed");
  expect(counters.snapshot()).toEqual({
    "balancer.misdirected{misrouted}": 1,
    "balancer.misdirected{not-meant}": 1,
    "balancer.misdirected{replayed}": 1,
  });
});

test("a request that follows a 421 is counted under the new and the old reason", () => {
  const counters = createCounters();
  countRenamed(counters, "balancer.routes", "misdirected");
  expect(counters.snapshot()).toEqual({
    "balancer.routes{misdirected}": 1,
    "balancer.routes{told}": 1,
  });
});
