/** The parts of the benchmark `moves`: what happens to the workers, and with which clients. */
import type { Transports } from "../../../test/support/counted/person.ts";
import type { EdgeProcess } from "../../../test/support/edge-process.ts";
import { until } from "../../../test/support/until.ts";
import {
  allAreUp,
  killWorker,
  restartWorker,
  whereSessionsAre,
} from "../../../test/support/worker-moves.ts";
import { size } from "../sizes.ts";

export interface Part {
  readonly name: string;
  readonly workers: number;
  readonly sessions: number;
  readonly scheme: "http" | "https";
  readonly client: "Node" | "Chromium";
  readonly transports: Transports;
  /** All sessions are moved to one worker before each round; without it they stay where the last one has left them. */
  readonly isGathered: boolean;
  readonly disturb: Disturbance;
}

/** Sessions that move at the same time. */
export interface Move {
  readonly sessionIds: readonly string[];
  /** Resolves when the worker is ready again. */
  readonly run: () => Promise<void>;
}

/** The moves of a round, one after the other. `first`: the worker that has the sessions, if they are gathered. */
type Disturbance = (edge: EdgeProcess, first: string) => AsyncGenerator<Move>;

const AFTER_POLLING: Transports = ["polling", "websocket"];

function rolling(client: Part["client"], scheme: Part["scheme"], transports: Transports): Part {
  const how = transports === AFTER_POLLING ? "" : ", WebSocket only";
  return {
    name: `rolling: ${client}, ${scheme}${how}`,
    workers: 4,
    sessions: sessionsOr(20),
    isGathered: false,
    disturb: restartAll,
    ...{ scheme, client, transports },
  };
}

function gathered(
  what: string,
  client: Part["client"],
  scheme: Part["scheme"],
  { sessions, disturb }: { readonly sessions: number; readonly disturb: Disturbance },
): Part {
  return {
    name: `${what}: ${client}, ${scheme}`,
    workers: 3,
    sessions: sessionsOr(sessions),
    transports: AFTER_POLLING,
    isGathered: true,
    ...{ client, scheme, disturb },
  };
}

function sessionsOr(count: number): number {
  return size("MOVES_SESSIONS", { long: count, short: Math.ceil(count / 4) });
}

export const PARTS: readonly Part[] = [
  rolling("Node", "http", AFTER_POLLING),
  rolling("Node", "http", ["websocket"]),
  rolling("Node", "https", AFTER_POLLING),
  rolling("Chromium", "http", AFTER_POLLING),
  rolling("Chromium", "https", AFTER_POLLING),
  gathered("kill", "Node", "http", { sessions: 100, disturb: killFirst }),
  gathered("kill", "Node", "https", { sessions: 100, disturb: killFirst }),
  // A page has at most 255 WebSockets, and with half of them it is busy even while nothing moves.
  gathered("kill", "Chromium", "https", { sessions: 30, disturb: killFirst }),
  gathered("kill-successor", "Node", "http", { sessions: 60, disturb: killSuccessor }),
];

async function* restartAll(edge: EdgeProcess): AsyncGenerator<Move> {
  for (const { id } of edge.readFile().workers) {
    const sessionIds = (await whereSessionsAre(edge)).find((one) => one.id === id)?.sessionIds;
    yield { sessionIds: sessionIds ?? [], run: () => restartWorker(edge, id) };
  }
}

async function* killFirst(edge: EdgeProcess, first: string): AsyncGenerator<Move> {
  yield {
    sessionIds: await sessionsAt(edge, first),
    run: async () => allAreUp(edge, [killWorker(edge, first)]),
  };
}

/** The worker that gets the first session of a draining one is killed at once. */
async function* killSuccessor(edge: EdgeProcess, first: string): AsyncGenerator<Move> {
  const sessionIds = await sessionsAt(edge, first);
  const run = async (): Promise<void> => {
    const restarted = restartWorker(edge, first);
    const { successor, left } = await until("a session has moved", async () => {
      const all = await whereSessionsAre(edge);
      const found = all.find((one) => one.id !== first && one.sessionIds.length > 0);
      const source = all.find(({ id }) => id === first);
      return found && { successor: found.id, left: source?.sessionIds.length ?? 0 };
    });
    const killed = killWorker(edge, successor);
    process.stdout.write(
      `  ${successor} killed with ${left} of ${sessionIds.length} sessions still at ${first}\n`,
    );
    await restarted;
    await allAreUp(edge, [killed]);
  };
  yield { sessionIds, run };
}

async function sessionsAt(edge: EdgeProcess, id: string): Promise<readonly string[]> {
  return (await whereSessionsAre(edge)).find((one) => one.id === id)?.sessionIds ?? [];
}
