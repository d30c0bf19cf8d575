/**
 * A balancer's explanation of a request agrees with where the request then goes: for decisions over random workers, health
 * states and records, and over HTTP with workers that name themselves.
 */
import { request } from "undici";
import { expect, onTestFinished, test } from "vitest";
import { explainHead } from "../../../balancer/admin/explain.ts";
import { decide, type Found, type View } from "../../../balancer/routing/decision.ts";
import type { Router } from "../../../balancer/routing/router.ts";
import { findRoute, type Route, routedRequest } from "../../../balancer/routing/session-key.ts";
import { UpstreamError } from "../../../balancer/upstreams/connection.ts";
import { systemClock } from "../../../shared/base/clock.ts";
import { newSessionId, type SessionKey, type WorkerId } from "../../../shared/base/ids.ts";
import { taggedId, workerTag } from "../../../shared/base/worker-tag.ts";
import type { ExplainedHead } from "../../../shared/control/command.ts";
import { type Explanation, parseExplanation } from "../../../shared/control/explanation.ts";
import type { WorkerRecord, WorkerState } from "../../../shared/store/member.ts";
import { type SessionRecord, StoreAwayError } from "../../../shared/store/store.ts";
import { createRandom, type Random } from "../../fuzz/random.ts";
import { atEnd } from "../../support/at-end.ts";
import {
  createView,
  type FakeView,
  ok,
  startRig,
  startSimpleWorker,
  workerRecord,
} from "../rig.ts";
import { openRouter, sessionRecord } from "../router-rig.ts";

const NONE: ReadonlySet<WorkerId> = new Set();
function routeOf(head: ExplainedHead): Route {
  return findRoute(routedRequest(head.method, head.target, head.fields));
}

/** As the operator's command receives it. */
async function explain(router: Router, view: FakeView, head: ExplainedHead): Promise<Explanation> {
  const discovery = { view, storeHealth: () => ({ state: "up" }) as const, isRecalled: false };
  const explanation = await explainHead(head, undefined, { router, discovery, clock: systemClock });
  const parsed = parseExplanation(JSON.parse(JSON.stringify(explanation)));
  if (parsed === undefined) throw new Error(`no explanation: ${JSON.stringify(explanation)}`);
  return parsed;
}

// --- random edges ---

const FAILURES = ["refused", "connect-timeout", "timeout", "closed", "invalid-response"] as const;

interface RandomEdge {
  readonly router: Router;
  readonly view: FakeView;
  readonly heads: readonly ExplainedHead[];
}

function randomWorkers(random: Random): WorkerRecord[] {
  return Array.from({ length: 1 + random.below(8) }, (_, i) =>
    workerRecord(`w${i}`, 1000 + i, {
      state: random.pick<WorkerState>(["up", "up", "up", "suspended", "draining"]),
      weight: random.pick([0.5, 1, 1, 2]),
      load: { sessions: random.below(20), connections: random.below(60), lagMs: random.below(30) },
    }),
  );
}

/**
 * Workers of which some are unhealthy, down, removed or back; sessions that the router has cached correctly or wrongly, that
 * only the store has, or that have no record; a store that is sometimes away or (`mayBeLate`) does not respond.
 */
function randomEdge(random: Random, requests: number, mayBeLate: boolean): RandomEdge {
  const workers = randomWorkers(random);
  const view = createView(workers);
  const records = new Map<SessionKey, SessionRecord>();
  const storeIs = random.pick(mayBeLate ? ["up", "away", "late"] : ["up", "up", "up", "away"]);
  const router = openRouter({
    view,
    findSession(key) {
      if (storeIs === "late") return new Promise(() => {});
      if (storeIs === "away") return Promise.reject(new StoreAwayError("find"));
      return Promise.resolve(records.get(key));
    },
  });
  atEnd(() => router.close());
  const keys = Array.from({ length: 30 }, (_, i) => (i % 2 === 0 ? newSessionId() : `team ${i}`));
  for (const key of keys as SessionKey[]) {
    const owner = random.pick([...workers.map(({ id }) => id), "elsewhere" as WorkerId]);
    if (random.chance(0.6)) records.set(key, sessionRecord(key, owner, 10));
    if (random.chance(0.5)) router.learn(key, random.chance(0.8) ? owner : w0(workers), 10);
  }
  for (const { id } of workers) {
    const upstream = router.byId(id);
    if (random.chance(0.3)) upstream?.reportFailure(new UpstreamError(random.pick(FAILURES)));
    if (random.chance(0.1)) upstream?.noteTakenOver();
  }
  const old = workers.map(({ id, incarnation }) => workerTag(id, incarnation));
  if (random.chance(0.3)) view.set(workers.slice(1));
  if (random.chance(0.3)) view.set([...view.workers.slice(0, -1), workerRecord("new", 2000)]);
  const sids = [...old, "0123456789abcdef" as (typeof old)[number]].map(taggedId);
  const heads = Array.from({ length: requests }, () => randomHead(random, keys, sids));
  return { router, view, heads };
}

function w0([first]: readonly WorkerRecord[]): WorkerId {
  return first?.id ?? ("" as WorkerId);
}

/** Each rule, alone and together with rules of lower precedence. */
function randomHead(
  random: Random,
  keys: readonly string[],
  sids: readonly string[],
): ExplainedHead {
  const fields: { name: string; value: string }[] = [];
  const room = (): string => random.pick(keys.filter((key) => key.length === 24));
  if (random.chance(0.3)) fields.push({ name: "CTStickiness", value: random.pick(keys) });
  if (random.chance(0.2))
    fields.push({ name: "Cookie", value: `ctstickiness=${random.pick(keys)}` });
  if (random.chance(0.2)) fields.push({ name: "x-oct-jwt", value: tokenOf(room()) });
  const target = random.pick([
    "/",
    `/k/${encodeURIComponent(random.pick(keys))}/`,
    `/api/session/join/${room()}`,
    "/api/session/create",
    `/socket.io/?EIO=4&transport=polling&sid=${random.pick(sids)}`,
    `/api/login/poll/${random.pick(sids)}`,
    "/socket.io/?EIO=4&transport=polling",
  ]);
  return { method: random.pick(["GET", "POST"]), target, fields };
}

function tokenOf(room: string): string {
  return `h.${Buffer.from(JSON.stringify({ room })).toString("base64url")}.s`;
}

// --- decisions ---

async function compare(edge: RandomEdge, head: ExplainedHead): Promise<string> {
  const { router, view } = edge;
  const route = routeOf(head);
  const explained = await explain(router, view, head);
  const taken = await router.choose(route, NONE);
  expect({ rule: explained.rule, reason: explained.reason }).toEqual({
    rule: taken.rule,
    reason: taken.reason,
  });
  if (explained.reason === "load") {
    // Both pick at random; a candidate without a chance is never picked.
    const drawn = explained.candidates.find(({ worker }) => worker === taken.upstream?.id);
    expect(drawn?.chance).toBeGreaterThan(0);
    const chances = explained.candidates.reduce((sum, { chance }) => sum + (chance ?? 0), 0);
    expect(chances).toBeCloseTo(1, 6);
  } else {
    expect(explained.worker).toBe(taken.upstream?.id);
  }
  return `${explained.rule} ${explained.reason}`;
}

test("10,000 random requests go where the explanation says, by the rule that it names", async () => {
  const seed = 20_260_101;
  const seen = new Map<string, number>();
  for (let edgeIndex = 0; edgeIndex < 100; edgeIndex++) {
    const edge = randomEdge(createRandom(seed, edgeIndex), 100, false);
    for (const head of edge.heads) {
      const what = await compare(edge, head);
      seen.set(what, (seen.get(what) ?? 0) + 1);
    }
    edge.router.close();
  }
  expect([...seen.values()].reduce((a, b) => a + b, 0)).toBe(10_000);
  // Every rule and every reason occurred, so all were compared.
  const words = new Set([...seen.keys()].flatMap((what) => what.split(" ")));
  for (const word of ["sid", "header", "path", "room", "token", "claim", "cookie", "none"]) {
    expect(words).toContain(word);
  }
  for (const word of ["tag", "record", "ring", "load", "nobody"]) expect(words).toContain(word);
}, 60_000);

test("requests go where the explanation says while the store does not respond in time", async () => {
  const random = createRandom(7, 0);
  const edges = Array.from({ length: 8 }, () => randomEdge(random, 10, true));
  await Promise.all(
    edges.map(async (edge) => {
      for (const head of edge.heads) await compare(edge, head);
    }),
  );
}, 60_000);

test("tracing the candidates changes no decision", () => {
  const random = createRandom(11, 0);
  for (let round = 0; round < 2000; round++) {
    const workers = randomWorkers(random);
    const statuses = new Map(
      workers.map(({ id }) => [id, random.pick(["healthy", "unhealthy", "down"] as const)]),
    );
    const order = workers.map(({ id }) => id);
    const key: SessionKey = newSessionId();
    const draw = random.below(1000) / 1000;
    const owner = random.pick([undefined, ...workers.map(({ id }) => id)]);
    const sight: View = {
      byTag: (asked) =>
        workers.find(({ id, incarnation }) => workerTag(id, incarnation) === asked)?.id,
      see(id) {
        const state = workers.find((worker) => worker.id === id)?.state;
        const status = statuses.get(id);
        return state === undefined || status === undefined ? undefined : { state, status };
      },
      ownerOf: () => owner,
      isCurrent: () => true,
      isAbsent: () => false,
      candidates: () => order,
      workers: () => workers.map((worker) => ({ ...loadOf(worker), id: worker.id })),
      isLeased: true,
      random: () => draw,
    };
    const head = randomHead(random, [key, "team"], workers.map(sidOf));
    const found = random.pick<Found | undefined>([undefined, "found", "none", "late", "away"]);
    expect(decide(routeOf(head), sight, found, [])).toEqual(decide(routeOf(head), sight, found));
  }
});

function sidOf({ id, incarnation }: WorkerRecord): string {
  return taggedId(workerTag(id, incarnation));
}

function loadOf(worker: WorkerRecord) {
  return { sessions: worker.load.sessions, inFlight: 0, record: worker };
}

// --- over HTTP ---

test("300 random requests over HTTP get their response from the worker that the explanation named", async () => {
  const random = createRandom(3, 0);
  const names = ["w0", "w1", "w2", "w3", "w4"];
  const workers = await Promise.all(names.map((name) => startSimpleWorker(() => ok(name))));
  const states: WorkerState[] = ["up", "up", "up", "draining", "suspended"];
  const records = names.map((name, i) =>
    workerRecord(name, workers[i]?.port ?? 0, {
      ...(states[i] !== undefined && { state: states[i] }),
      load: { sessions: i, connections: 0, lagMs: 0 },
    }),
  );
  const rig = await startRig({ workers: records });
  onTestFinished(async () => {
    await rig.close();
    for (const worker of workers) await worker.close();
  });
  const keys = Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? newSessionId() : `team-${i}`));
  for (const key of keys as SessionKey[]) {
    if (random.chance(0.5)) rig.records.set(key, sessionRecord(key, random.pick(records).id, 10));
  }
  const sids = [
    ...records.map(sidOf),
    taggedId("0123456789abcdef" as ReturnType<typeof workerTag>),
  ];
  const { router } = rig.path;
  let drawn = 0;
  for (let i = 0; i < 300; i++) {
    if (i === 100)
      router.byId("w1" as WorkerId)?.reportFailure(new UpstreamError("invalid-response"));
    if (i === 200) rig.view.set(records.slice(1));
    const head = randomHead(random, keys, sids);
    const explained = await explain(router, rig.view, head);
    const answer = await request(`http://127.0.0.1:${rig.port}${head.target}`, {
      method: head.method as "GET" | "POST",
      headers: head.fields.flatMap(({ name, value }) => [name, value]),
    });
    const name = await answer.body.text();
    if (explained.reason === "load") {
      drawn++;
      expect(explained.candidates.find(({ worker }) => worker === name)?.chance).toBeGreaterThan(0);
    } else {
      expect(`${explained.rule}: ${name}`).toBe(`${explained.rule}: ${explained.worker}`);
    }
  }
  expect(drawn).toBeGreaterThan(10);
  expect(drawn).toBeLessThan(200);
});
