/**
 * What the processes of an edge say about themselves on their status ports.
 */
import { fetch } from "undici";
import type { EdgeProcess } from "./edge-process.ts";

/** What one worker does now. */
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

/** What each worker does now, in the order of their names. */
export async function dutiesOf(edge: EdgeProcess): Promise<WorkerDuties[]> {
  const { workers } = edge.readFile();
  return Promise.all(
    workers.map(async ({ id, pid, statusPort }) => {
      const { sessions, waitingPolls } = (await readView(statusPort)) as WorkerView;
      return { id, pid, sessionIds: sessions.map((session) => session.id), waitingPolls };
    }),
  );
}

/** A counter, summed over all processes and, without a tag, over all its series. */
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
  const answer = await fetch(`http://127.0.0.1:${port}/view`);
  if (!answer.ok) throw new Error(`/view on port ${port} answers ${answer.status}`);
  return answer.json();
}
