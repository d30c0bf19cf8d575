/** What idle WebSockets cost: private memory of balancer and worker, with one and with two balancer processes. */
import { fitLine, type Point } from "../growth-law.ts";
import { startLoad } from "../relay/load.ts";
import type { Result } from "../results.ts";
import { type Summary, summarize } from "../statistics.ts";
import { type FleetShape, startFleet } from "./fleets.ts";

interface Part extends FleetShape {
  /**
   * Open WebSockets at each measurement. With 20,000 descriptors, as on the machines used, a process serves 9,968; two processes
   * on Node 20 do not get the same number each.
   */
  readonly steps: readonly number[];
}

const PARTS: readonly Part[] = [
  { name: "1 process", workers: 1, balancers: 1, processes: 1, steps: [1000, 3000, 9000] },
  { name: "2 processes", workers: 1, balancers: 1, processes: 2, steps: [2000, 6000, 15_000] },
];
/** Opened before the first measurement, so that code and heaps are there. */
const FIRST = 500;

export async function measureIdleSockets(maxSockets: number): Promise<Result[]> {
  const figures = new Map<string, Record<string, Summary>>();
  for (const part of PARTS) {
    const { both, balancer, worker } = await measure(part, maxSockets);
    for (const [unit, points] of [
      ["KiB per idle WebSocket, both", both],
      ["KiB per idle WebSocket, balancer", balancer],
      ["KiB per idle WebSocket, worker", worker],
    ] as const) {
      const perSocket = fitLine(points).perUnit;
      figures.set(unit, { ...figures.get(unit), [part.name]: summarize([perSocket]) });
      process.stdout.write(
        `  ${part.name.padEnd(12)} ${unit.padEnd(34)} ${perSocket.toFixed(1)}   MiB at ${points
          .map(({ size, figure }) => `${size}: ${(figure / 1024).toFixed(0)}`)
          .join(", ")}\n`,
      );
    }
  }
  return [...figures].map(([unit, all]) => ({ question: "idle WebSockets", unit, figures: all }));
}

/** Private memory in KiB at each number of WebSockets. */
async function measure(part: Part, maxSockets: number) {
  const fleet = await startFleet(part);
  const load = startLoad();
  const both: Point[] = [];
  const balancer: Point[] = [];
  const worker: Point[] = [];
  let open = 0;
  try {
    for (const size of [FIRST, ...part.steps.filter((step) => step <= maxSockets)]) {
      await load.openIdle(fleet.port, size - open);
      open = size;
      const ofBalancer = fleet.proxy.privateBytes() / 1024;
      const ofWorker = fleet.server.privateBytes() / 1024;
      balancer.push({ size, figure: ofBalancer });
      worker.push({ size, figure: ofWorker });
      both.push({ size, figure: ofBalancer + ofWorker });
    }
  } finally {
    await load.close();
    await fleet.end();
  }
  return { both, balancer, worker };
}
