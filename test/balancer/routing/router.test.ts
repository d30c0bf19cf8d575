import { afterEach, describe, expect, test } from "vitest";
import type { Decision, Router } from "../../../balancer/routing/router.ts";
import type { Route } from "../../../balancer/routing/session-key.ts";
import { UpstreamError } from "../../../balancer/upstreams/connection.ts";
import type { Upstream } from "../../../balancer/upstreams/upstream.ts";
import type { SessionId, SessionKey, WorkerId } from "../../../shared/base/ids.ts";
import { workerTag } from "../../../shared/base/worker-tag.ts";
import { createCounters } from "../../../shared/metrics/metrics.ts";
import type { WorkerRecord } from "../../../shared/store/member.ts";
import { type SessionRecord, StoreAwayError } from "../../../shared/store/store.ts";
import { holdings } from "../../robustness/memory.ts";
import { watchMachine } from "../../support/machine.ts";
import { createView, type FakeView, workerRecord } from "../rig.ts";
import { FREE, openRouter, sessionRecord } from "../router-rig.ts";

const machine = watchMachine();

const NONE: ReadonlySet<WorkerId> = new Set();
const KEY = "key" as SessionKey;
const ROOM = "R".repeat(24) as SessionId;

let router: Router;
let view: FakeView;
let lookups: SessionKey[];
let moved: [SessionKey, number][];
/** The store's lookup; replaced by the test. */
let findSession: (key: SessionKey) => Promise<SessionRecord | undefined>;
const counters = createCounters();

function start(workers: readonly WorkerRecord[]): void {
  view = createView(workers);
  lookups = [];
  moved = [];
  findSession = async () => undefined;
  router = openRouter({
    view,
    counters,
    findSession(key) {
      lookups.push(key);
      return findSession(key);
    },
    onEpoch: (key, epoch) => moved.push([key, epoch]),
  });
}

afterEach(() => router.close());

const CREATE: Route = { ...FREE, isCreate: true };

function keyed(key: SessionKey = KEY, rule: "header" | "claim" = "header"): Route {
  return { ...FREE, key: { rule, key } };
}

function tagged(worker: WorkerRecord, key?: SessionKey): Route {
  const tag = workerTag(worker.id, worker.incarnation);
  return {
    ...FREE,
    tag: { rule: "sid", tag },
    key: key === undefined ? undefined : { rule: "claim", key },
  };
}

async function where(route: Route, exclude = NONE): Promise<string> {
  const { upstream, rule, reason }: Decision = await router.choose(route, exclude);
  return `${upstream?.id ?? "-"} ${rule} ${reason}`;
}

const record = (owner: string, epoch: number): SessionRecord => sessionRecord(ROOM, owner, epoch);

const A = workerRecord("a", 1001);
const B = workerRecord("b", 1002);
const C = workerRecord("c", 1003);
/** An upstream by its worker's id. */
const upstream = (id: string): Upstream => router.byId(id as WorkerId) as Upstream;
const sick = (id: string): void => upstream(id).reportFailure(new UpstreamError("refused"));

describe("a request with a worker's tag", () => {
  test("a request with a tag goes to its worker in any state, without a store lookup", async () => {
    start([A, { ...B, state: "draining" }]);
    expect(await where(tagged(A))).toBe("a sid tag");
    expect(await where(tagged(B))).toBe("b sid tag");
    sick("a");
    expect(await where(tagged(A, ROOM))).toBe("a sid tag");
    expect(lookups).toEqual([]);
  });

  test("a tag of a removed incarnation is ignored, and the next rule decides", async () => {
    start([A]);
    findSession = async () => record("a", 1);
    const old = workerRecord("a", 1001);
    expect(await where(tagged(old, ROOM))).toBe("a claim record");
    expect(await where(tagged(old))).toBe("a none load");
  });

  test("a tag is ignored when the cache and the store name another owner of the session", async () => {
    start([A, B]);
    router.learn(ROOM, B.id, 7);
    findSession = async () => record("b", 7);
    expect(await where(tagged(A, ROOM))).toBe("b claim record");
  });

  test("a tag takes precedence over an older cached owner", async () => {
    start([A, B]);
    router.learn(ROOM, B.id, 7);
    findSession = async () => record("a", 8);
    expect(await where(tagged(A, ROOM))).toBe("a sid tag");
    expect(await where(tagged(A, ROOM))).toBe("a sid tag");
    expect(lookups).toHaveLength(1);
  });
});

describe("a request with a key", () => {
  test("a request with a key goes to the owner that the store names, with one lookup", async () => {
    start([A, B, C]);
    findSession = async () => record("b", 5);
    expect(await where(keyed())).toBe("b header record");
    expect(router.choose(keyed(), NONE)).not.toBeInstanceOf(Promise);
    expect(await where(keyed(ROOM, "claim"))).toBe("b claim record");
    expect(lookups).toEqual([KEY]);
  });

  test("concurrent requests with the same key share one lookup", async () => {
    start([A, B]);
    let answer: (found: SessionRecord | undefined) => void = () => {};
    findSession = () => new Promise((resolve) => (answer = resolve));
    const asked = Array.from({ length: 50 }, () => where(keyed()));
    answer(record("b", 5));
    expect(new Set(await Promise.all(asked))).toEqual(new Set(["b header record"]));
    expect(lookups).toHaveLength(1);
  });

  test("a key without a record follows the ring, without another lookup within a second", async () => {
    start([A, B, C]);
    const first = view.ring.first(KEY);
    expect(await where(keyed())).toBe(`${first} header ring`);
    expect(await where(keyed())).toBe(`${first} header ring`);
    expect(lookups).toHaveLength(1);
  });

  test("a key without a record is looked up again after forget and after learn", async () => {
    start([A, B, C]);
    await where(keyed());
    router.forget(KEY);
    await where(keyed());
    expect(lookups).toHaveLength(2);
    router.learn(KEY, C.id, 1);
    expect(await where(keyed())).toBe("c header record");
  });

  test("a key follows the ring when the store is too slow, and the late result is cached", async () => {
    start([A, B]);
    let answer: (found: SessionRecord | undefined) => void = () => {};
    findSession = () => new Promise((resolve) => (answer = resolve));
    const first = view.ring.first(KEY);
    const other = first === "a" ? "b" : "a";
    const startedMs = performance.now();
    expect(await where(keyed())).toBe(`${first} header ring`);
    expect(performance.now() - startedMs).toBeLessThan(
      machine.limitMs(startedMs, { promisedMs: 500 }),
    );
    expect(await where(keyed())).toBe(`${first} header ring`);
    expect(lookups).toHaveLength(1);
    answer(record(other, 5));
    await expect.poll(() => where(keyed())).toBe(`${other} header record`);
  });

  test("a key follows the ring while the store is away", async () => {
    start([A, B]);
    findSession = async () => {
      throw new StoreAwayError("findSession");
    };
    expect(await where(keyed())).toBe(`${view.ring.first(KEY)} header ring`);
  });

  test("a key without a record skips workers that accept no new sessions", async () => {
    start([A, B, C]);
    const order = [...view.ring.candidates(KEY)];
    view.set(
      [A, B, C].map((worker) =>
        worker.id === order[0] ? { ...worker, state: "suspended" } : worker,
      ),
    );
    expect(await where(keyed())).toBe(`${order[1]} header ring`);
    sick(order[1] ?? "");
    expect(await where(keyed())).toBe(`${order[2]} header ring`);
  });

  test("a request goes to the owner of its session although that accepts no new sessions", async () => {
    start([{ ...A, state: "draining" }, B]);
    findSession = async () => record("a", 5);
    expect(await where(keyed())).toBe("a header record");
  });

  test("a session keeps its cached owner after the store has lost the record, with at most one lookup per second", async () => {
    start([A, B, C]);
    router.learn(ROOM, "gone" as WorkerId, 7);
    for (let i = 0; i < 5; i++) {
      expect(await router.choose(keyed(ROOM), NONE)).toMatchObject({ hasOwner: true });
    }
    expect(lookups).toHaveLength(1);
    router.learn(ROOM, B.id, 8);
    expect(await where(keyed(ROOM))).toBe("b header record");
  });

  test("a session of a restarted owner is looked up once: another worker may have taken it over", async () => {
    start([A, B]);
    router.learn(ROOM, A.id, 5);
    expect(router.choose(keyed(ROOM), NONE)).not.toBeInstanceOf(Promise);
    findSession = async () => record("b", 6);
    view.set([workerRecord("a", 1001), B]);
    expect(await where(keyed(ROOM))).toBe("b header record");
    expect(router.choose(keyed(ROOM), NONE)).not.toBeInstanceOf(Promise);
    expect(lookups).toEqual([ROOM]);
  });

  test("a session of an owner that was removed and is back is looked up once", async () => {
    start([A, B]);
    router.learn(ROOM, A.id, 5);
    view.set([B]);
    view.set([workerRecord("a", 1001), B]);
    findSession = async () => record("a", 5);
    expect(await where(keyed(ROOM))).toBe("a header record");
    expect(router.choose(keyed(ROOM), NONE)).not.toBeInstanceOf(Promise);
    expect(lookups).toEqual([ROOM]);
  });

  test("a session of a restarted owner stays with it unless the store names another", async () => {
    start([A, B]);
    router.learn(ROOM, A.id, 5);
    view.set([workerRecord("a", 1001), B]);
    findSession = () => Promise.reject(new Error("away"));
    expect(await where(keyed(ROOM))).toBe("a header record");
  });

  test("a request avoids an owner that is unhealthy, removed or excluded", async () => {
    start([A, B]);
    findSession = async () => record("a", 5);
    expect(await where(keyed(), new Set([A.id]))).toBe("b header ring");
    sick("a");
    expect(await where(keyed())).toBe("b header ring");
    view.set([B]);
    expect(await where(keyed())).toBe("b header ring");
  });

  test("a request with a key goes to the first candidate when all are unhealthy", async () => {
    start([A, B]);
    sick("a");
    sick("b");
    expect(await where(keyed())).toBe(`${view.ring.first(KEY)} header ring`);
  });

  test("a request with a key has no route without workers, or without one that accepts new sessions", async () => {
    start([]);
    expect(await where(keyed())).toBe("- header nobody");
    view.set([{ ...A, state: "draining" }]);
    expect(await where(keyed("other" as SessionKey))).toBe("- header nobody");
  });

  test("a request with a key may go to a draining worker while the store cannot say whether its session is new", async () => {
    start([{ ...A, state: "draining" }]);
    findSession = async () => {
      throw new StoreAwayError("findSession");
    };
    expect(await where(keyed())).toBe("a header ring");
  });
});

describe("the owner cache", () => {
  test("the owner cache never replaces a higher epoch by a lower one", async () => {
    start([A, B]);
    router.learn(ROOM, A.id, 10);
    router.learn(ROOM, B.id, 9);
    expect(await where(keyed(ROOM))).toBe("a header record");
    router.learn(ROOM, B.id, 11);
    expect(await where(keyed(ROOM))).toBe("b header record");
    expect(moved).toEqual([
      [ROOM, 10],
      [ROOM, 11],
    ]);
  });

  test("the owner cache ignores a late lookup result that is older than a worker's response", async () => {
    start([A, B]);
    let answer: (found: SessionRecord | undefined) => void = () => {};
    findSession = () => new Promise((resolve) => (answer = resolve));
    const asked = where(keyed(ROOM));
    router.learn(ROOM, B.id, 11);
    answer(record("a", 10));
    await asked;
    expect(await where(keyed(ROOM))).toBe("b header record");
  });

  test("the owner cache is bounded: the oldest of 100,000 keys is evicted", async () => {
    start([A, B]);
    router.learn(KEY, A.id, 1);
    for (let i = 0; i < 100_000; i++) router.learn(`k${i}` as SessionKey, B.id, 1);
    expect(router.choose(keyed(), NONE)).toBeInstanceOf(Promise);
    expect(router.choose(keyed("k99999" as SessionKey), NONE)).not.toBeInstanceOf(Promise);
  });
});

describe("a request without a key", () => {
  test("a request without a key goes to the less loaded worker", async () => {
    const load = { sessions: 50, connections: 200, lagMs: 1 };
    start([{ ...A, load }, B]);
    for (let i = 0; i < 20; i++) expect(await where(FREE)).toBe("b none load");
  });

  test("a request without a key never goes to a suspended, draining or unhealthy worker", async () => {
    start([{ ...A, state: "suspended" }, { ...B, state: "draining" }, C, workerRecord("d", 1004)]);
    sick("d");
    for (let i = 0; i < 20; i++) expect(await where(FREE)).toBe("c none load");
  });

  test("a request without a key goes to an unhealthy worker when all are unhealthy", async () => {
    start([A]);
    sick("a");
    expect(await where(FREE)).toBe("a none load");
  });

  test("creates are spread evenly between two heartbeats", async () => {
    start([A, B, C]);
    const counts = new Map<string, number>();
    for (let i = 0; i < 90; i++) {
      const { upstream: chosen } = await router.choose(CREATE, NONE);
      counts.set(chosen?.id ?? "", (counts.get(chosen?.id ?? "") ?? 0) + 1);
    }
    expect(Math.max(...counts.values())).toBeLessThanOrEqual(38);
    expect(counts.size).toBe(3);
  });

  test("a create goes to no worker above the load cap, also when both that are compared are above it", async () => {
    const load = (sessions: number) => ({ load: { sessions, connections: 0, lagMs: 0 } });
    start([A, B, C].map((worker, index) => ({ ...worker, ...load([10, 10, 2][index] ?? 0) })));
    router.close();
    // The first two workers are compared.
    router = openRouter({ view, findSession: async () => undefined, random: () => 0 });
    expect(await where(FREE)).toBe("a none load");
    expect(await where(CREATE)).toBe("c none load");
  });
});

describe("membership", () => {
  test("a heartbeat of the same incarnation keeps the upstream, a new incarnation replaces it", () => {
    start([A, B]);
    const before = upstream("a");
    let retired = false;
    before.onDown(() => {
      retired = true;
    });
    view.set([{ ...A, load: { sessions: 3, connections: 0, lagMs: 0 } }, B]);
    expect(upstream("a")).toBe(before);
    expect(before.sessions).toBe(3);
    view.set([workerRecord("a", 1001), B]);
    expect(upstream("a")).not.toBe(before);
    expect(retired).toBe(true);
  });

  test("a removed worker is retired and not chosen", async () => {
    start([A, B]);
    view.set([B]);
    expect(router.byId(A.id)).toBeUndefined();
    expect(router.usable).toBe(1);
    for (let i = 0; i < 10; i++) expect(await where(FREE)).toBe("b none load");
  });
});

test("a cached key does not keep the request head in memory that it was sliced from, also when it is learned again after a restart of its worker", () => {
  start([A]);
  const before = holdings().heap;
  const learnAll = (): void => {
    for (let i = 0; i < 5000; i++) {
      const head = Buffer.from(`key-${i}`.padEnd(24, "k").padEnd(16_384, "x"), "latin1").toString(
        "latin1",
      );
      router.learn(head.slice(0, 24) as SessionKey, A.id, 1);
    }
    // The test's own arrays hold the keys as they were received.
    moved = [];
  };
  learnAll();
  expect(holdings().heap - before).toBeLessThan(5000 * 1000);
  view.set([workerRecord("a", 1001)]);
  learnAll();
  expect(holdings().heap - before).toBeLessThan(5000 * 1000);
});
