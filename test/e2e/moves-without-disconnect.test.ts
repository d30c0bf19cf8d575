/**
 * Sessions move to other workers while people send messages: their WebSockets stay open, and every message arrives once and in
 * order. socket.io's own clients on a real edge; each message has its sender's number.
 */
import { beforeAll, beforeEach, expect, onTestFinished, test } from "vitest";
import {
  type CountedSessions,
  countedSessions,
  type Figures,
} from "../support/counted/sessions.ts";
import { type EdgeProcess, startEdge } from "../support/edge-process.ts";
import { until } from "../support/until.ts";
import { allAreUp, killWorker, restartWorker, whereSessionsAre } from "../support/worker-moves.ts";
import { rawPublicKey } from "../worker/sessions/raw-peer.ts";

const SESSIONS = 6;
const PEOPLE = 3;
const PER_SECOND = 120;
/** Messages of each person before, between and after the moves. */
const MESSAGES = 3;
const BACK_MS = 30_000;
const SLOW = { timeout: 120_000 };

const UNDISTURBED = {
  lost: 0,
  doubled: 0,
  reordered: 0,
  damaged: 0,
  announcements: 0,
  disconnects: 0,
} satisfies Partial<Figures>;

let edge: EdgeProcess;

beforeAll(async () => {
  edge = await startEdge({ env: { CT_WORKER_COUNT: "3" } });
});
beforeEach(() => allAreUp(edge));

test("every message arrives once and in order while no session moves", SLOW, async () => {
  const { figures } = await people({});
  expect(await figures(() => Promise.resolve())).toMatchObject(UNDISTURBED);
});

test(
  "no WebSocket is closed and no message is lost while the workers restart one after the other",
  SLOW,
  async () => {
    const { figures, restartAll } = await people({});
    expect(await figures(restartAll)).toMatchObject(UNDISTURBED);
  },
);

test(
  "WebSockets that were opened without polling before stay open when their worker restarts",
  SLOW,
  async () => {
    const { figures, busiestWorker } = await people({ isWebSocketOnly: true });
    const busiest = await busiestWorker();
    expect(await figures(() => restartWorker(edge, busiest))).toMatchObject(UNDISTURBED);
  },
);

test("no WebSocket is closed and no message is lost when a worker is killed", SLOW, async () => {
  const { figures, busiestWorker } = await people({});
  const busiest = await busiestWorker();
  const moved = await figures(async () => {
    const killed = killWorker(edge, busiest);
    await allAreUp(edge, [killed]);
  });
  expect(moved).toMatchObject(UNDISTURBED);
});

test(
  "a guest who only polls reconnects while the workers restart, and the others in its session notice nothing",
  SLOW,
  async () => {
    const { figures, restartAll, sessions } = await people({ pollingSessions: 1 });
    expect(await figures(restartAll)).toMatchObject(UNDISTURBED);
    expect(await sessions.state()).toMatchObject({
      connected: SESSIONS * PEOPLE,
      onWebSocket: SESSIONS * PEOPLE - 1,
    });
  },
);

test(
  "no WebSocket is closed and no message is lost while the only worker restarts",
  SLOW,
  async () => {
    const small = await startEdge({ env: { CT_WORKER_COUNT: "1" } });
    const { figures, restartAll } = await people({ at: small });
    expect(await figures(restartAll)).toMatchObject(UNDISTURBED);
  },
);

// --- arrangements ---

interface Counted {
  readonly sessions: CountedSessions;
  /** The worker with most of these sessions. */
  readonly busiestWorker: () => Promise<string>;
  /** Restarts one worker after the other; people send messages in between. */
  readonly restartAll: () => Promise<void>;
  /** Of what people send before, during and after `move`, when all messages have arrived. */
  readonly figures: (move: () => Promise<void>) => Promise<Figures>;
}

/** Six sessions of three people, who are closed when the running test ends. */
async function people(how: {
  /** Default: the edge of all tests. */
  readonly at?: EdgeProcess;
  readonly isWebSocketOnly?: true;
  readonly pollingSessions?: number;
}): Promise<Counted> {
  const sessions = countedSessions();
  onTestFinished(() => sessions.close());
  const { at = edge, pollingSessions = 0 } = how;
  const { sessionIds } = await sessions.open({
    url: at.httpUrl,
    sessions: SESSIONS,
    people: PEOPLE,
    publicKey: rawPublicKey(),
    transports: how.isWebSocketOnly ? ["websocket"] : ["polling", "websocket"],
    pollingSessions,
  });
  await until("all but the polling ones are on WebSockets", async () => {
    const { people: all, onWebSocket } = await sessions.state();
    return onWebSocket === all - pollingSessions;
  });

  async function say(): Promise<void> {
    const { sent, people: all } = await sessions.state();
    const isSaid = async () => (await sessions.state()).sent >= sent + MESSAGES * all;
    await until("each person has sent some messages", isSaid);
  }

  async function busiestWorker(): Promise<string> {
    // Sessions of the tests before may still be open.
    const counts = (await whereSessionsAre(at)).map(({ id, sessionIds: ids }) => ({
      id,
      own: ids.filter((session) => sessionIds.includes(session)).length,
    }));
    const [busiest] = counts.sort((a, b) => b.own - a.own);
    if (busiest === undefined || busiest.own === 0) throw new Error("no worker has a session");
    return busiest.id;
  }

  return {
    sessions,
    busiestWorker,
    async restartAll() {
      for (const { id } of at.readFile().workers) {
        await restartWorker(at, id);
        await say();
      }
    },
    async figures(move) {
      await sessions.start(PER_SECOND);
      await say();
      await move();
      await say();
      await sessions.stop();
      // If one is missing or away, the figures show it.
      await until(
        "all are connected and have every message",
        async () => {
          const { connected, people: all, missing } = await sessions.state();
          return connected === all && missing === 0;
        },
        BACK_MS,
      ).catch(() => {});
      return sessions.figures();
    },
  };
}
