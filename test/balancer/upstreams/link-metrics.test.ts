/** What links count as plain numbers becomes metrics when they are read. */
import { expect, test } from "vitest";
import { measureLinks } from "../../../balancer/upstreams/link-metrics.ts";
import { noLinks, openLinks } from "../../../balancer/upstreams/worker-links.ts";
import type { WorkerId } from "../../../shared/base/ids.ts";
import { type LinkCounts, newLinkCounts } from "../../../shared/link/link-counts.ts";
import { countWorkerLinks } from "../../../shared/metrics/link-counters.ts";
import { createCounters } from "../../../shared/metrics/metrics.ts";
import { writeExposition } from "../../../shared/metrics/prometheus.ts";
import { createBatches } from "../../../shared/metrics/statsd/batch.ts";
import { silentLog } from "../../support/logs.ts";
import { createStepClock } from "../../support/step-clock.ts";

const W1 = "w1" as WorkerId;
const W2 = "w2" as WorkerId;

function links(): { readonly counts: LinkCounts; isOver: boolean } {
  return { counts: newLinkCounts(), isOver: false };
}

test("the counts of links are counters of their worker, and rise by what was added since they were read", () => {
  const counters = createCounters();
  const add = measureLinks(counters);
  const first = links();
  const second = links();
  add(W1, first);
  add(W2, second);
  first.counts.framesIn = 3;
  first.counts.stalls = 1;
  second.counts.framesIn = 4;
  expect(counters.value("balancer.link.received_frames", W1)).toBe(3);
  expect(counters.value("balancer.link.received_frames")).toBe(7);
  first.counts.framesIn = 5;
  expect(counters.snapshot()).toEqual({
    "balancer.link.received_frames{w1}": 5,
    "balancer.link.received_frames{w2}": 4,
    "balancer.link.stalls{w1}": 1,
  });
});

test("a restart of the worker does not lower its counters, and links that are over are counted to their end", () => {
  const counters = createCounters();
  const add = measureLinks(counters);
  const before = links();
  add(W1, before);
  before.counts.resets = 2;
  const after = links();
  add(W1, after);
  after.counts.resets = 10;
  before.counts.resets = 3;
  before.isOver = true;
  expect(counters.value("balancer.link.resets", W1)).toBe(13);
  expect(counters.value("balancer.link.resets", W1)).toBe(13);
});

test("links that are over are forgotten, also when nobody reads the metrics", () => {
  const counters = createCounters();
  const add = measureLinks(counters);
  const over = links();
  add(W1, over);
  over.counts.errors = 1;
  over.isOver = true;
  add(W1, links());
  // It would be counted if it were still followed.
  over.counts.errors = 100;
  expect(counters.value("balancer.link.errors", W1)).toBe(1);
});

test("links are over once none is open and none will be opened", () => {
  expect(noLinks("off").isOver).toBe(true);
  const target = {
    id: W1,
    address: { host: "127.0.0.1", port: 1 },
    request: "",
    isProof: () => true,
  };
  const opening = openLinks(target, {
    transport: { dial: () => ({ cancel() {} }) },
    clock: createStepClock(),
    log: silentLog(),
    reportBug() {},
    random: () => 0,
  });
  expect(opening).toMatchObject({ state: "connecting", isOver: false });
  opening.retire();
  expect(opening.isOver).toBe(true);
});

test("Prometheus gets a series for each worker from the start, and StatsD the increase", async () => {
  const counters = createCounters();
  const measured = links();
  measureLinks(counters)(W1, measured);
  counters.gauge("balancer.links", () => ({ [W1]: 1 }));
  counters.gauge("balancer.link.streams", () => ({ [W1]: 12 }));
  measured.counts.bytesOut = 70_000;
  const lines = (await writeExposition(counters.series(), ["balancer"])).split("\n");
  expect(lines).toContain('codetogether_balancer_links{worker="w1"} 1');
  expect(lines).toContain('codetogether_balancer_link_streams{worker="w1"} 12');
  expect(lines).toContain('codetogether_balancer_link_sent_bytes_total{worker="w1"} 70000');
  expect(lines).toContain('codetogether_balancer_link_errors_total{worker="w1"} 0');

  const batches = createBatches({
    prefix: "ct",
    tags: "none",
    source: { role: "balancer", id: "b" },
    scopes: ["balancer"],
  });
  batches.next(counters.series()).commit();
  measured.counts.bytesOut += 500;
  const sent = batches.next(counters.series()).lines.filter(({ type }) => type === "count");
  expect(sent).toEqual([{ type: "count", name: "ct.balancer.b.link.sent_bytes.w1", value: 500 }]);
});

test("a worker counts the links of all balancers together", () => {
  const counters = createCounters();
  const counts = newLinkCounts();
  countWorkerLinks(counters, counts);
  counts.framesOut = 9;
  expect(counters.value("worker.link.sent_frames")).toBe(9);
  counts.framesOut = 10;
  counts.errors = 1;
  expect(counters.snapshot()).toEqual({ "worker.link.sent_frames": 10, "worker.link.errors": 1 });
});
