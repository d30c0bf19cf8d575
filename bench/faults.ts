/**
 * What do clients notice when a worker is killed, stopped, refuses connections, disappears or is slow, or when all are
 * restarted one by one? 240 requests per second with 48 keys and 30 WebSockets over 3 workers, compared with nginx and HAProxy
 * in front of the same workers. The list of workers is fixed, so no proxy learns from a store which workers are alive.
 *
 * `FAULTS=kill,stop` selects faults, `FAULTS_PHASE_MS` sets the duration of each.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildOnce } from "../test/support/build.ts";
import {
  FAULTS,
  type Fault,
  type FaultReport,
  FaultWorkers,
  runFaults,
} from "../test/support/fault-run.ts";
import { freePort } from "../test/support/ports.ts";
import { FAULT_PROXIES } from "./support/fault-proxies.ts";
import { type Result, writeResults } from "./support/results.ts";
import { FORM, isPart, size } from "./support/sizes.ts";
import { summarize } from "./support/statistics.ts";

const PHASE_MS = size("FAULTS_PHASE_MS", { long: 6000, short: 2500 });
const IN_SHORT: readonly Fault[] = ["kill", "stop"];

export async function run(): Promise<void> {
  await buildOnce();
  const named = process.env["FAULTS"]?.split(",") as Fault[] | undefined;
  const faults = named ?? (FORM === "short" ? IN_SHORT : FAULTS);
  const reported = new Map<string, readonly FaultReport[]>();
  const folder = mkdtempSync(join(tmpdir(), "edge-faults-"));
  process.stdout.write(
    "balancer  fault      requests  failed  slowest ms  routed away ms  moved  tunnels broken  p99 ms (before)\n",
  );
  try {
    for (const kind of FAULT_PROXIES) {
      if (kind.version() === undefined) {
        process.stdout.write(`${kind.name} is not installed and is skipped\n`);
        continue;
      }
      const workers = await FaultWorkers.start();
      const proxy = await kind.start({ port: await freePort(), workers: workers.ports, folder });
      try {
        const reports = await runFaults({
          port: proxy.port,
          workers,
          load: { keys: 48, requestsPerSecond: 240, tunnels: 30, phaseMs: PHASE_MS },
          faults,
        });
        for (const report of reports) print(kind.name, report);
        reported.set(kind.name, reports);
      } finally {
        await proxy.program.end();
        await workers.close();
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  if (!isPart("FAULTS"))
    writeResults(
      "faults",
      faults.flatMap((fault) => resultsOf(fault, reported)),
      versions(),
    );
}

function versions(): Record<string, string> {
  return Object.fromEntries(
    FAULT_PROXIES.flatMap((kind) => {
      const version = kind.version();
      return version === undefined ? [] : [[kind.name, version]];
    }),
  );
}

function resultsOf(fault: Fault, reported: ReadonlyMap<string, readonly FaultReport[]>): Result[] {
  const row = (what: string, unit: string, of: (report: FaultReport) => number): Result => ({
    question: `${fault}: ${what}`,
    unit,
    figures: Object.fromEntries(
      [...reported].flatMap(([name, reports]) => {
        const report = reports.find((one) => one.fault === fault);
        return report === undefined ? [] : [[name, summarize([of(report)])]];
      }),
    ),
  });
  return [
    row("failed requests", "requests", ({ failed }) => failed),
    row("longest wait", "ms", ({ slowestMs }) => slowestMs),
    row("until requests avoid the worker", "ms", ({ routedAwayMs }) => routedAwayMs),
    row("WebSockets of other workers broken", "WebSockets", ({ brokenTunnels }) => brokenTunnels),
  ];
}

function print(name: string, report: FaultReport): void {
  const p99 = `${report.p99Ms.toFixed(1)} (${report.p99BeforeMs.toFixed(1)})`;
  const columns = [
    name.padEnd(10),
    report.fault.padEnd(11),
    String(report.requests).padEnd(10),
    String(report.failed).padEnd(8),
    report.slowestMs.toFixed(0).padEnd(12),
    report.routedAwayMs.toFixed(0).padEnd(16),
    String(report.moved).padEnd(7),
    String(report.brokenTunnels).padEnd(16),
    report.fault === "rolling" ? "-" : p99,
  ];
  process.stdout.write(`${columns.join("")}\n`);
}
