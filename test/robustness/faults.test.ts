import { afterAll, beforeAll, expect, test } from "vitest";
import { buildOnce } from "../support/build.ts";
import { launch, type Run } from "../support/cluster.ts";
import { type Fault, type FaultReport, FaultWorkers, runFaults } from "../support/fault-run.ts";
import { watchMachine } from "../support/machine.ts";

const machine = watchMachine();

/** A small version of `npm run bench -- faults`, with less load and without peers. */
let workers: FaultWorkers;
let balancer: Run;
let reports: Map<Fault, FaultReport>;
let beganMs: number;
/** A balancer probes every second, and a probe fails after 1.5 s. */
const ROUTED_AWAY = { promisedMs: 3000, waitsMs: 2500 };

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
  await workers.close();
});

test.each(["kill", "stop"] as const)(
  "a worker that fails by %s costs no idempotent request, moves no key and breaks no WebSocket of other workers",
  (fault) => {
    const report = reports.get(fault);
    expect(report?.requests).toBeGreaterThan(60);
    expect(report).toMatchObject({ failed: 0, moved: 0, brokenTunnels: 0 });
  },
);

test("requests are routed away from a stopped worker within 3 s", () => {
  expect(reports.get("stop")?.routedAwayMs).toBeLessThanOrEqual(
    machine.limitMs(beganMs, ROUTED_AWAY),
  );
});
