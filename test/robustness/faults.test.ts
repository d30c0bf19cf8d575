import { afterAll, beforeAll, expect, test } from "vitest";
import { buildOnce } from "../support/build.ts";
import { launch, type Run } from "../support/cluster.ts";
import { type Fault, type FaultReport, FaultWorkers, runFaults } from "../support/fault-run.ts";
import { watchMachine } from "../support/machine.ts";

const machine = watchMachine();

/** A small form of `npm run bench -- faults`: with less load and less time, and no other balancer beside it. */
let workers: FaultWorkers;
let balancer: Run;
let reports: Map<Fault, FaultReport>;
let beganMs: number;
/** A balancer asks each second, and believes after 1.5 s without an answer. */
const LEFT = { promisedMs: 3000, waitsMs: 2500 };

beforeAll(async () => {
  await buildOnce();
  workers = await FaultWorkers.start();
  balancer = launch("balancer", {
    env: { CT_WORKERS: workers.ports.map((port) => `127.0.0.1:${port}`).join(",") },
  });
  const { port } = await balancer.ready();
  beganMs = performance.now();
  const load = { keys: 24, requestsPerSecond: 60, tunnels: 12, phaseMs: 3500 };
  const faults: Fault[] = ["kill", "stop"];
  reports = new Map(
    (await runFaults({ port, workers, load, faults })).map((report) => [report.fault, report]),
  );
}, 90_000);

afterAll(async () => {
  await balancer.kill();
  await workers.close();
});

test.each(["kill", "stop"] as const)(
  "a worker that is broken by %s costs no idempotent request, no key and no WebSocket of others",
  (fault) => {
    const report = reports.get(fault);
    expect(report?.requests).toBeGreaterThan(60);
    expect(report).toMatchObject({ failed: 0, moved: 0, brokenTunnels: 0 });
  },
);

test("a worker that is stopped is left within 3 s", () => {
  expect(reports.get("stop")?.routedAwayMs).toBeLessThanOrEqual(machine.limitMs(beganMs, LEFT));
});
