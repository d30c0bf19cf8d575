/**
 * Reads the status ports of an edge's processes.
 */
import { fetch } from "undici";
import type { EdgeFile, EdgeProcess } from "./edge-process.ts";

type RunningWorker = EdgeFile["workers"][number];

export interface WorkerDuties {
  readonly id: string;
  readonly pid: number;
  readonly sessionIds: readonly string[];
  /** Sign-ins and join requests whose poll is open there. */
  readonly waitingPolls: number;
}

interface View {
  readonly counters: Readonly<Record<string, number>>;
}

interface WorkerView extends View {
  readonly sessions: readonly { readonly id: string }[];
  readonly waitingPolls: number;
}

/** The sessions and polls of each worker, ordered by name. Rejects while one of them does not run. */
export function dutiesOf(edge: EdgeProcess): Promise<WorkerDuties[]> {
  return Promise.all(edge.readFile().workers.map(readDuties));
}

export function dutiesOfWorker(edge: EdgeProcess, id: string): Promise<WorkerDuties> {
  const worker = edge.readFile().workers.find((one) => one.id === id);
  if (worker === undefined) throw new Error(`no worker ${id}`);
  return readDuties(worker);
}

async function readDuties({ id, pid, statusPort }: RunningWorker): Promise<WorkerDuties> {
  const { sessions, waitingPolls } = (await readView(statusPort)) as WorkerView;
  return { id, pid, sessionIds: sessions.map((session) => session.id), waitingPolls };
}

/** A counter, summed over all processes and, without `tag`, over all its series. */
export async function countOf(edge: EdgeProcess, name: string, tag?: string): Promise<number> {
  const { statusPort, workers } = edge.readFile();
  const ports = [statusPort, ...workers.map((worker) => worker.statusPort)];
  const views = (await Promise.all(ports.map(readView))) as View[];
  let sum = 0;
  for (const { counters } of views) {
    for (const [series, count] of Object.entries(counters)) {
      if (tag === undefined ? seriesName(series) === name : series === `${name}{${tag}}`) {
        sum += count;
      }
    }
  }
  return sum;
}

function seriesName(series: string): string {
  const end = series.indexOf("{");
  return end < 0 ? series : series.slice(0, end);
}

async function readView(port: number): Promise<unknown> {
  const response = await fetch(`http://127.0.0.1:${port}/view`);
  if (!response.ok) throw new Error(`/view on port ${port}: status ${response.status}`);
  return response.json();
}

/** WebSockets that wait at a balancer for another worker. */
export async function waitingWebSockets(statusPort: number): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${statusPort}/metrics`);
  const found = /^codetogether_balancer_resume_waiting(?:\{.*\})? (\d+)$/m.exec(
    await response.text(),
  );
  if (found === null) throw new Error("the metric is missing");
  return Number(found[1]);
}
