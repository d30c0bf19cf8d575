/**
 * The result of `ct-edge simulate` is what then happens: compared with the balancers' router and the workers' drain over random
 * edges. With whole processes: test/e2e/simulate.test.ts.
 */
import { describe, expect, test } from "vitest";
import { handleCommand } from "../../balancer/admin/commands.ts";
import type { Route } from "../../balancer/routing/session-key.ts";
import { UpstreamError } from "../../balancer/upstreams/connection.ts";
import { simulationText } from "../../edge/simulate/format-simulation.ts";
import { checkChange } from "../../edge/simulate/run-simulation.ts";
import {
  type Change,
  type KnownSession,
  type Move,
  type Simulation,
  type Snapshot,
  simulate,
} from "../../edge/simulate/simulate.ts";
import { findPlaces } from "../../edge/simulate/snapshot.ts";
import { systemClock } from "../../shared/base/clock.ts";
import {
  newSessionId,
  type SessionId,
  type SessionKey,
  type WorkerId,
} from "../../shared/base/ids.ts";
import { listenForCommands } from "../../shared/control/command-listener.ts";
import { createRing } from "../../shared/membership/ring.ts";
import { createCounters } from "../../shared/metrics/metrics.ts";
import type { WorkerRecord, WorkerState } from "../../shared/store/member.ts";
import type { Store } from "../../shared/store/store.ts";
import { type DrainDeps, startDrain } from "../../worker/session-moves/drain.ts";
import { createView, RING_KEY, workerRecord } from "../balancer/rig.ts";
import { openRouter } from "../balancer/router-rig.ts";
import { balancer } from "../contract/store.ts";
import { createRandom, type Random } from "../fuzz/random.ts";
import { atEnd } from "../support/at-end.ts";
import { connectStore, startServer } from "../support/embedded-store.ts";
import { silentLog } from "../support/logs.ts";
import { createStepClock } from "../support/step-clock.ts";
import { tempFolder } from "../support/temp-folder.ts";

const NOBODY: ReadonlySet<WorkerId> = new Set();
const ids = (names: readonly string[]): WorkerId[] => names as WorkerId[];

interface RandomEdge extends Snapshot {
  readonly workers: readonly WorkerRecord[];
  readonly sick: readonly WorkerId[];
}

/** Two to six workers, some of which take nothing new or fail, and their sessions, some of which are known by an alias. */
function randomEdge(random: Random): RandomEdge {
  const count = 2 + random.below(5);
  const names = Array.from({ length: count }, (_, i) => `worker-${i + 1}`);
  const sessions = Array.from({ length: 60 }, (): KnownSession => {
    const peers = random.below(5);
    return {
      id: newSessionId(),
      ...(random.chance(0.3) && { alias: `team ${random.below(1e9)}` as SessionKey }),
      holder: random.pick(ids(names)),
      peers,
      connections: random.below(peers + 1),
    };
  });
  const workers = names.map((name) => {
    const own = sessions.filter(({ holder }) => holder === name);
    return workerRecord(name, 3000, {
      state: random.pick<WorkerState>(["up", "up", "up", "suspended", "draining"]),
      weight: random.pick([0.5, 1, 1, 2]),
      load: {
        sessions: own.length,
        connections: own.reduce((sum, { connections }) => sum + connections, 0),
        lagMs: 0,
      },
    });
  });
  const sick = ids(names).filter(() => random.chance(0.15));
  const ring = createRing(workers, RING_KEY);
  return {
    workers,
    sessions,
    sick,
    statusOf: (id) => (sick.includes(id) ? "unhealthy" : "healthy"),
    placeOf: (key) => ring.place(key),
    drain: { delayMs: 1000, timeoutMs: 60_000 },
  };
}

function movesOf(edge: RandomEdge, change: Change): Move[] {
  return [...simulate(change, edge).moves];
}

/** Where a balancer that knows the sessions sends their people once `members` are those that there are. */
async function routesAfter(
  edge: RandomEdge,
  members: readonly WorkerRecord[],
): Promise<Map<SessionId, (WorkerId | undefined)[]>> {
  const view = createView(edge.workers);
  const router = openRouter({ view, findSession: async () => undefined });
  atEnd(() => router.close());
  for (const { id, alias, holder } of edge.sessions) {
    router.learn(id, holder, 1);
    if (alias !== undefined) router.learn(alias, holder, 1);
  }
  view.set(members);
  for (const id of edge.sick) router.byId(id)?.reportFailure(new UpstreamError("invalid-response"));
  const routes = new Map<SessionId, (WorkerId | undefined)[]>();
  for (const { id, alias } of edge.sessions) {
    const keys = alias === undefined ? [id] : [id, alias];
    const chosen: (WorkerId | undefined)[] = [];
    for (const key of keys) {
      chosen.push((await router.choose(routeOf(key), NOBODY)).upstream?.id);
    }
    routes.set(id, chosen);
  }
  return routes;
}

function routeOf(key: SessionKey): Route {
  return {
    tag: undefined,
    key: { rule: "claim", key },
    target: "/",
    isCreate: false,
    isSignIn: false,
    isRepeatable: false,
  };
}

test("ct-edge simulate --crash names exactly the sessions that a balancer sends to other workers then, and these workers", async () => {
  let moved = 0;
  for (let i = 0; i < 12; i++) {
    const edge = randomEdge(createRandom(20_260_102, i));
    const [worker] = edge.workers;
    if (worker === undefined) throw new Error("no worker");
    const moves = movesOf(edge, { kind: "crash", worker: worker.id });
    const lost = edge.sessions.filter(({ holder }) => holder === worker.id);
    expect(moves.map(({ session }) => session).sort()).toEqual(lost.map(({ id }) => id).sort());
    const routes = await routesAfter(edge, edge.workers.slice(1));
    for (const { session, to, by, connections } of moves) {
      expect(by).toBe(connections === 0 ? "reaper" : "clients");
      if (by === "reaper") continue;
      moved++;
      expect(to).toEqual([...new Set(routes.get(session)?.filter((id) => id !== undefined))]);
    }
  }
  expect(moved).toBeGreaterThan(60);
}, 60_000);

test("ct-edge simulate --remove names exactly the successors to which the worker's drain hands its sessions", async () => {
  let handed = 0;
  for (let i = 0; i < 10; i++) {
    const edge = randomEdge(createRandom(20_260_103, i));
    const [worker] = edge.workers;
    if (worker === undefined) throw new Error("no worker");
    const moves = movesOf(edge, { kind: "remove", worker: worker.id });
    const expected = new Map(moves.map(({ session, to }) => [session, to[0]]));
    const successors = await drained(edge, worker);
    handed += successors.size;
    expect(new Map([...expected].filter(([, to]) => to !== undefined))).toEqual(successors);
    const own = edge.sessions.filter(({ holder }) => holder === worker.id);
    expect([...expected.keys()].sort()).toEqual(own.map(({ id }) => id).sort());
    expect(moves.every(({ by }) => by === "drain")).toBe(true);
  }
  expect(handed).toBeGreaterThan(60);
}, 60_000);

/** Who got which session from the worker's own drain, with its time stepped. */
async function drained(edge: RandomEdge, worker: WorkerRecord): Promise<Map<SessionId, WorkerId>> {
  const clock = createStepClock();
  const successors = new Map<SessionId, WorkerId>();
  const sessions = edge.sessions
    .filter(({ holder }) => holder === worker.id)
    .map(({ id }) => ({
      id,
      get isLive() {
        return !successors.has(id);
      },
      async handOver(to: WorkerId) {
        successors.set(id, to);
        return "handed" as const;
      },
    }));
  const drain = startDrain({
    self: worker.id,
    version: worker.version,
    ending: new Set(),
    registry: {
      sessions: () => sessions.values() as ReturnType<DrainDeps["registry"]["sessions"]>,
    },
    view: {
      ring: createRing(edge.workers, RING_KEY),
      worker: (id) => edge.workers.find((one) => one.id === id),
    },
    clock,
    log: silentLog(),
    counters: createCounters(),
    sendPendingMessages: async () => {},
    sendResume: async () => {},
    ...edge.drain,
    random: () => 0.5,
  });
  let isOver = false;
  void drain.over.then(() => {
    isOver = true;
  });
  while (!isOver) {
    clock.advance(100);
    await new Promise(setImmediate);
  }
  return successors;
}

test("ct-edge simulate --add moves no session, as no balancer does, and new keys go to the new worker by its share", async () => {
  for (let i = 0; i < 8; i++) {
    const edge = randomEdge(createRandom(20_260_104, i));
    const { moves, stay, workers } = simulate({ kind: "add", count: 2 }, edge);
    expect(moves).toEqual([]);
    expect(stay).toBe(edge.sessions.length);
    const added = workers.filter(({ sessions }) => sessions.before === null);
    expect(added.map(({ id }) => id)).toEqual([
      `worker-${edge.workers.length + 1}`,
      `worker-${edge.workers.length + 2}`,
    ]);
    const members = [...edge.workers, ...added.map(({ id }) => workerRecord(id, 3000))];
    const before = await routesAfter(edge, edge.workers);
    const well = edge.sessions.filter(({ holder }) => !edge.sick.includes(holder));
    const after = await routesAfter(edge, members);
    for (const { id, holder } of well) {
      expect(after.get(id)).toEqual(before.get(id));
      expect(new Set(after.get(id))).toEqual(new Set([holder]));
    }
    const weights = members.reduce((sum, { weight }) => sum + weight, 0);
    for (const { keys } of added) expect(keys.after).toBeCloseTo(1 / weights, 1);
    expect(workers.reduce((sum, { keys }) => sum + (keys.after ?? 0), 0)).toBeCloseTo(1, 6);
  }
}, 60_000);

// --- text ---

const W1 = workerRecord("w1", 3001, { load: { sessions: 3, connections: 9, lagMs: 0 } });
const W2 = workerRecord("w2", 3002, { load: { sessions: 1, connections: 2, lagMs: 0 } });
const W3 = workerRecord("w3", 3003, { load: { sessions: 2, connections: 4, lagMs: 0 } });
const ring = createRing([W1, W2, W3], RING_KEY);

function session(letter: string, holder: WorkerRecord, connections: number): KnownSession {
  return { id: letter.repeat(24) as SessionId, holder: holder.id, peers: 3, connections };
}

const SNAPSHOT: Snapshot = {
  workers: [W1, W2, W3],
  sessions: [session("a", W1, 3), session("b", W1, 3), session("c", W1, 0), session("d", W2, 2)],
  statusOf: () => "healthy",
  placeOf: (key) => ring.place(key),
  drain: { delayMs: 1000, timeoutMs: 60_000 },
};

function text(change: Change, notes: readonly string[] = []): string {
  return simulationText(change, simulate(change, SNAPSHOT), { limit: 2, isFull: false, notes });
}

describe("the text of ct-edge simulate", () => {
  test("the text of ct-edge simulate shows a crash", () => {
    expect(text({ kind: "crash", worker: W1.id }, ["w1 is started again."])).toMatchInlineSnapshot(`
      "w1 ends at once: 3 sessions move, 1 stay.
      6 connections reconnect within about 1.5 s, up to about 6 a second.

      SESSION  FROM  TO  BY       PEERS  CONNECTED
      aaaaaa…  w1    w2  clients      3          3
      bbbbbb…  w1    w2  clients      3          3
      and 1 more; use --limit to show more

      WORKER  SESSIONS  THEN  CONNECTIONS  THEN  NEW KEYS  THEN  NEXT 100  THEN
      w1             3     -            9     -      33 %     -        31     -
      w2             1     3            2     8      34 %  52 %        35    49
      w3             2     2            4     4      32 %  48 %        34    51
      Most sessions of a worker to the mean: 1.50, then 1.20.

      ! w1 is started again.
      "
    `);
  });

  test("the text of ct-edge simulate shows a removal", () => {
    expect(text({ kind: "remove", worker: W1.id })).toMatchInlineSnapshot(`
      "w1 is drained and stopped: 3 sessions move, 1 stay.
      6 connections reconnect within about 2.6 s, up to about 6 a second.

      SESSION  FROM  TO  BY     PEERS  CONNECTED
      aaaaaa…  w1    w2  drain      3          3
      bbbbbb…  w1    w2  drain      3          3
      and 1 more; use --limit to show more

      WORKER  SESSIONS  THEN  CONNECTIONS  THEN  NEW KEYS  THEN  NEXT 100  THEN
      w1             3     -            9     -      33 %     -        31     -
      w2             1     3            2     8      34 %  52 %        35    50
      w3             2     3            4     4      32 %  48 %        34    50
      Most sessions of a worker to the mean: 1.50, then 1.00.
      "
    `);
  });

  test("the text of ct-edge simulate shows an addition", () => {
    expect(text({ kind: "add", count: 1 })).toMatchInlineSnapshot(`
      "1 worker is added: 0 sessions move, 4 stay.

      WORKER  SESSIONS  THEN  CONNECTIONS  THEN  NEW KEYS  THEN  NEXT 100  THEN
      w1             3     3            9     9      33 %  25 %        31    22
      w2             1     1            2     2      34 %  25 %        35    26
      w3             2     2            4     4      32 %  24 %        34    25
      w4             -     0            -     0         -  26 %         -    27
      Most sessions of a worker to the mean: 1.50, then 2.00.
      "
    `);
  });
});

describe("simulated reconnects", () => {
  const many = (count: number, connections: number): KnownSession[] =>
    Array.from({ length: count }, () => ({
      id: newSessionId(),
      holder: W1.id,
      peers: connections,
      connections,
    }));
  const reconnectsOf = (change: Change, more: Partial<Snapshot>): Simulation["reconnects"] =>
    simulate(change, { ...SNAPSHOT, ...more }).reconnects;

  test("simulated reconnects after a crash all come within the clients' first back-off", () => {
    expect(reconnectsOf({ kind: "crash", worker: W1.id }, { sessions: many(100, 3) })).toEqual({
      connections: 300,
      perSecond: 300,
      withinMs: 1500,
    });
  });

  test("simulated reconnects during a drain come at its pace: a thousand sessions in 40 s, 28 a second at first", () => {
    const { connections, perSecond, withinMs } = reconnectsOf(
      { kind: "remove", worker: W1.id },
      { sessions: many(1000, 2) },
    );
    expect({ connections, perSecond }).toEqual({ connections: 2000, perSecond: 56 });
    // With the delay before and the clients' back-off after.
    expect(withinMs).toBeGreaterThan(30_000);
    expect(withinMs).toBeLessThanOrEqual(42_500);
  });

  test("simulated reconnects during a drain with little time come faster", () => {
    const { perSecond } = reconnectsOf(
      { kind: "remove", worker: W1.id },
      { sessions: many(1000, 1), drain: { delayMs: 0, timeoutMs: 10_000 } },
    );
    expect(perSecond).toBeGreaterThan(100);
  });
});

test("a simulation counts sessions whose worker is gone already separately from those that move", () => {
  const lost = { ...session("e", W1, 1), holder: "gone" as WorkerId };
  const { moves, adrift, stay } = simulate(
    { kind: "crash", worker: W2.id },
    { ...SNAPSHOT, sessions: [...SNAPSHOT.sessions, lost] },
  );
  expect({ moves: moves.map(({ from }) => from), adrift, stay }).toEqual({
    moves: ["w2"],
    adrift: 1,
    stay: 3,
  });
});

test("a change that cannot be simulated fails with one line", () => {
  const workers = [W1, { ...W2, state: "suspended" as const }];
  const check = (kind: "remove" | "crash", worker: string) => () =>
    checkChange({ kind, worker: worker as WorkerId }, { workers });
  expect(check("crash", "w9")).toThrow(/^there is no worker w9; workers are w1, w2$/);
  expect(check("remove", "w1")).toThrow(
    /^no worker but w1 takes sessions, so a drain would move none/,
  );
  expect(check("crash", "w1")).toThrow(
    /^no worker but w1 takes sessions: after a crash its sessions wait/,
  );
  expect(check("remove", "w2")).not.toThrow();
  expect(() => checkChange({ kind: "crash", worker: W1.id }, { workers: [] })).toThrow(
    /^there is no worker w1; there are no workers$/,
  );
});

describe("the places of keys on the ring", () => {
  async function openStores(): Promise<{ operator: Store; member: Store }> {
    const folder = tempFolder();
    const server = await startServer({ dataDir: folder });
    const operator = await connectStore(server.socketPath);
    const member = await connectStore(server.socketPath);
    atEnd(
      () => operator.close(),
      () => member.close(),
      () => server.close(),
    );
    return { operator, member };
  }

  test("the places of keys on the ring come from a balancer, for any number of keys and for long ones", async () => {
    const { operator, member } = await openStores();
    const record = balancer("balancer-1");
    const view = createView([W1, W2, W3]);
    const router = openRouter({ view, findSession: async () => undefined });
    atEnd(() => router.close());
    const commandListener = listenForCommands({
      store: member,
      clock: systemClock,
      log: silentLog(),
      self: record.id,
      handleCommand: (command) =>
        handleCommand(command, {
          router,
          discovery: { view, storeHealth: () => undefined, isRecalled: false },
          clock: systemClock,
          acme: undefined,
        }),
    });
    atEnd(() => commandListener.close());
    const keys = Array.from(
      { length: 1200 },
      (_, i): SessionKey =>
        i % 300 === 7 ? (String(i).repeat(8192).slice(0, 8192) as SessionKey) : newSessionId(),
    );
    const placeOf = await findPlaces(operator, [record], keys);
    expect(keys.map(placeOf)).toEqual(keys.map((key) => view.ring.place(key)));
  });

  test("the places of keys on the ring are unknown without a balancer, and the error says why", async () => {
    const { operator } = await openStores();
    await expect(findPlaces(operator, [W1], [newSessionId()])).rejects.toThrow(
      /^no balancer answered, and only balancers know the places of keys on the ring; see /,
    );
    await findPlaces(operator, [W1], []);
  });
});
