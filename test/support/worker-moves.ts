/**
 * Ways to move sessions between the workers of a running edge, and where they are: restart, kill, and a drain of all workers
 * but one. For tests and benchmarks of what people notice.
 */
import { fetch } from "undici";
import { askEdge } from "../../edge/control/control-client.ts";
import { runCommand } from "./command.ts";
import type { EdgeProcess } from "./edge-process.ts";
import { until, within } from "./until.ts";

/** A restarted worker drains first, and is killed only after more than a minute. */
const RESTART_MS = 90_000;
const GATHER_MS = 90_000;

export interface WorkerSessions {
  readonly id: string;
  readonly pid: number;
  readonly sessionIds: readonly string[];
}

/** The sessions of each worker that responds: none of one that is starting. */
export async function whereSessionsAre(edge: EdgeProcess): Promise<WorkerSessions[]> {
  const all = await Promise.all(
    edge.readFile().workers.map(async ({ id, pid, statusPort }) => {
      const response = await fetch(`http://127.0.0.1:${statusPort}/view`).catch(() => undefined);
      const view = (await response?.json().catch(() => undefined)) as View | undefined;
      return view && { id, pid, sessionIds: view.sessions.map((session) => session.id) };
    }),
  );
  return all.filter((one) => one !== undefined);
}

interface View {
  readonly sessions: readonly { readonly id: string }[];
}

/** `ct-edge restart WORKER`: resolves when the worker has drained and is ready again. */
export async function restartWorker(edge: EdgeProcess, id: string): Promise<void> {
  const restarted = askEdge(edge.dataDir, { command: "restart", name: id, progress: true });
  await within(`${id} has restarted`, RESTART_MS, restarted);
}

/** Returns the pid of the killed process. */
export function killWorker(edge: EdgeProcess, id: string): number {
  const worker = edge.readFile().workers.find((one) => one.id === id);
  if (worker === undefined) throw new Error(`no worker ${id}`);
  process.kill(worker.pid, "SIGKILL");
  return worker.pid;
}

/** Resolves when all workers are up, and none of `former` is among their pids. */
export async function allAreUp(edge: EdgeProcess, former: readonly number[] = []): Promise<void> {
  await until(
    "all workers are up",
    async () => {
      const { processes } = await askEdge(edge.dataDir, { command: "ps" });
      return processes.every(
        ({ state, pid }) => state === "up" && pid !== null && !former.includes(pid),
      );
    },
    RESTART_MS,
  );
}

/** Drains all other workers, so that `target` has every session, and resumes them. `env`: the commands' further settings. */
export async function gatherSessions(
  edge: EdgeProcess,
  target: string,
  env: Readonly<Record<string, string>> = {},
): Promise<void> {
  const others = edge.readFile().workers.filter(({ id }) => id !== target);
  const tell = async (kind: "drain" | "resume", id: string): Promise<void> => {
    const { status, stderr } = await runCommand([kind, id], { CT_DATA_DIR: edge.dataDir, ...env });
    // A drain continues when its command, which waits for the end, has run out of time.
    if (status !== 0 && status !== null) throw new Error(`${kind} ${id}: ${stderr}`);
  };
  for (const { id } of others) await tell("drain", id);
  await until(
    `all sessions are at ${target}`,
    async () => {
      const all = await whereSessionsAre(edge);
      return all.every(({ id, sessionIds }) => id === target || sessionIds.length === 0);
    },
    GATHER_MS,
  );
  for (const { id } of others) await tell("resume", id);
}
