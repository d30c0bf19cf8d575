/** How many workers a load needs. */
import { expect, test } from "vitest";
import { demandOf, type ScalingTargets } from "../../../shared/autoscale/demand.ts";
import type { WorkerLoad, WorkerRecord } from "../../../shared/store/member.ts";
import { workerRecord } from "../../balancer/rig.ts";

const TARGETS: ScalingTargets = {
  sessions: 100,
  connections: 400,
  cpu: 0.5,
  lagMs: 20,
  headroom: 0.2,
};

function worker(load: Partial<WorkerLoad>, more: Partial<WorkerRecord> = {}): WorkerRecord {
  const idle = { sessions: 0, connections: 0, lagMs: 0, cpu: 0 };
  return workerRecord("w", 3001, { load: { ...idle, ...load }, ...more });
}

test.each([
  { what: "sessions", load: { sessions: 150 }, workers: 3.6 },
  { what: "connections", load: { connections: 600 }, workers: 3.6 },
  { what: "cpu", load: { cpu: 0.75 }, workers: 3.6 },
] as const)(
  "two workers with one and a half times their $what need four",
  ({ what, load, workers }) => {
    const demand = demandOf([worker(load), worker(load)], TARGETS);
    expect(demand?.by).toBe(what);
    expect(demand?.workers).toBeCloseTo(workers);
  },
);

test("the resource that needs most workers decides", () => {
  const demand = demandOf([worker({ sessions: 50, connections: 400, cpu: 0.1 })], TARGETS);
  expect(demand).toMatchObject({ by: "connections", workers: 1.2 });
  expect(demand?.needs).toEqual({ sessions: 0.6, connections: 1.2, cpu: 0.24, lag: 0 });
});

test("nothing in use needs no worker", () => {
  expect(demandOf([worker({}), worker({})], TARGETS)).toMatchObject({ by: undefined, workers: 0 });
});

test.each([
  { lagMs: 21, workers: 4 },
  { lagMs: 20, workers: 3 },
  { lagMs: 11, workers: 3 },
  { lagMs: 10, workers: 0 },
])("with a mean delay of $lagMs ms three workers need $workers", ({ lagMs, workers }) => {
  const three = [worker({ lagMs: 0 }), worker({ lagMs: lagMs * 2 }), worker({ lagMs })];
  expect(demandOf(three, TARGETS)?.workers).toBe(workers);
});

test("the load of a worker that drains counts, because the others get it, its delay does not", () => {
  const draining = worker({ sessions: 90, lagMs: 500 }, { state: "draining" });
  const demand = demandOf([worker({ sessions: 10 }), draining], TARGETS);
  expect(demand?.needs).toMatchObject({ sessions: 1.2, lag: 0 });
});

test("a suspended worker stays, so its delay counts", () => {
  const suspended = worker({ lagMs: 15 }, { state: "suspended" });
  expect(demandOf([suspended], TARGETS)?.needs.lag).toBe(1);
});

test("a worker that does not report its CPU time neither adds nor saves a worker", () => {
  const former = worker({ cpu: undefined });
  expect(demandOf([former, former], TARGETS)?.needs.cpu).toBe(2);
  const draining = worker({ cpu: undefined }, { state: "draining" });
  expect(demandOf([former, draining], TARGETS)?.needs.cpu).toBe(1);
});

test("without a worker that stays there is no demand", () => {
  expect(demandOf([], TARGETS)).toBeUndefined();
  expect(demandOf([worker({ sessions: 5 }, { state: "draining" })], TARGETS)).toBeUndefined();
});
