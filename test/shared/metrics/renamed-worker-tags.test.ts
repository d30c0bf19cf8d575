/** One version: dashboards that ask for a tag value by its old name still get its counts. */
import { expect, test } from "vitest";
import { createCounters } from "../../../shared/metrics/metrics.ts";
import { countNoSuccessor, countResumed } from "../../../shared/metrics/renamed-worker-tags.ts";

test("a session taken from an owner whose lease has expired is counted under the new and the old cause", () => {
  const counters = createCounters();
  countResumed(counters, "lease-gone");
  countResumed(counters, "restarted");
  expect(counters.snapshot()).toEqual({
    "worker.sessions_resumed{lease-expired}": 1,
    "worker.sessions_resumed{lease-gone}": 1,
    "worker.sessions_resumed{restarted}": 1,
  });
});

test("a session for which a drain finds no successor is counted under the new and the old outcome", () => {
  const counters = createCounters();
  countNoSuccessor(counters);
  expect(counters.snapshot()).toEqual({
    "worker.sessions_drained{nobody}": 1,
    "worker.sessions_drained{none}": 1,
  });
});
