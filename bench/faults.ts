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

const PHASE_MS = Number(process.env["FAULTS_PHASE_MS"] ?? 6000);

export async function run(): Promise<void> {
  await buildOnce();
  const named = process.env["FAULTS"]?.split(",") as Fault[] | undefined;
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
          faults: named ?? FAULTS,
        });
        for (const report of reports) print(kind.name, report);
      } finally {
        await proxy.program.end();
        await workers.close();
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
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
