/**
 * Metrics of the whole cluster: users are counted once, and one of several workers sends the totals.
 */
import { describe, expect, it, onTestFinished } from "vitest";
import type { Incarnation, WorkerId } from "../../../shared/base/ids.ts";
import { parseReport, sumReports, writeReport } from "../../../shared/cluster/sums.ts";
import type { Series } from "../../../shared/metrics/metrics.ts";
import { createStoreState } from "../../../shared/store/embedded/state/state.ts";
import {
  type NewValue,
  type ReportKind,
  StoreAwayError,
  type UserRecord,
} from "../../../shared/store/store.ts";
import { Cluster } from "../../../worker/usage/cluster.ts";
import {
  createPeopleCounter,
  createPersonHash,
  createRecentPeople,
} from "../../../worker/usage/people.ts";
import { silentLog } from "../../support/logs.ts";
import { createStepClock } from "../../support/step-clock.ts";

const KEY = Buffer.alloc(32, 7);
const INCARNATION = "a".repeat(16) as Incarnation;

describe("the count of a worker's users", () => {
  it("a worker counts a user once, by provider and email or else name, and sessions whose host has connected", () => {
    const { peopleCounter, sessions } = people();
    sessions.push(
      session(true, [user("1", "Ada"), user("2", "Ben", "Ben@example.com")]),
      session(true, [user("3", "Ada"), user("4", "Benjamin", "ben@EXAMPLE.com")]),
      session(false, [user("5", "ada")]),
      session(true, [{ ...user("6", "Ada"), authProvider: "oidc" }]),
    );
    const { users, sessions: open, connections } = peopleCounter();
    // Ada, Ben, ada (another name), Ada of another provider.
    expect({ users: users.size, open, connections }).toEqual({ users: 4, open: 3, connections: 6 });
    for (const hash of users) expect(hash).toMatch(/^[A-Za-z0-9_-]{11}$/);
  });

  it("a worker counts disconnected peers as away, and the bytes that wait for them", () => {
    const { peopleCounter, sessions } = people();
    sessions.push(session(true, [user("1", "Ada")], { isConnected: false, waitingBytes: 300 }));
    expect(peopleCounter()).toEqual({
      users: new Set(),
      sessions: 1,
      connections: 0,
      away: 1,
      bufferBytes: 300,
    });
  });

  it("a worker knows for a minute who has come in, also when they are gone again", () => {
    const clock = createStepClock();
    const recent = createRecentPeople({ hashOf: (user) => user.name, clock });
    recent.add(user("1", "Ada"));
    clock.advance(59_000);
    recent.add(user("2", "Ben"));
    expect([...recent.hashes]).toEqual(["Ada", "Ben"]);
    clock.advance(2000);
    expect([...recent.hashes]).toEqual(["Ben"]);
    for (let number = 0; number < 3000; number++) recent.add(user("x", `person ${number}`));
    expect(recent.hashes.size).toBe(2000);
  });

  it("the count of users has other hashes under another key, so that hashes reveal nothing outside the edge", () => {
    const one = people();
    const two = people(Buffer.alloc(32, 8));
    for (const { sessions } of [one, two]) sessions.push(session(true, [user("1", "Ada")]));
    expect([...one.peopleCounter().users]).not.toEqual([...two.peopleCounter().users]);
  });
});

describe("a usage report", () => {
  it("a usage report is read as it was written, with thousands of users in less than 256 KiB", () => {
    const users = new Set(Array.from({ length: 20_000 }, (_, i) => String(i).padStart(11, "x")));
    const recent = new Set(Array.from({ length: 2000 }, (_, i) => String(i).padStart(11, "y")));
    const report = {
      incarnation: INCARNATION,
      users,
      recent,
      sessions: 7,
      connections: 9,
      lagMs: 1,
    };
    const text = writeReport(report);
    expect(text.length).toBeLessThan(256 * 1024);
    expect(parseReport(text)).toEqual(report);
    expect(parseReport(writeReport({ ...report, users: new Set() }))?.users.size).toBe(0);
  });

  it.each([
    ["no JSON", "{"],
    ["no object", "7"],
    [
      "half a hash",
      '{"incarnation":"aaaaaaaaaaaaaaaa","users":"abc","sessions":0,"connections":0,"lagMs":0}',
    ],
    [
      "a negative number",
      '{"incarnation":"aaaaaaaaaaaaaaaa","users":"","sessions":-1,"connections":0,"lagMs":0}',
    ],
    ["no incarnation", '{"users":"","sessions":0,"connections":0,"lagMs":0}'],
    [
      "infinity",
      '{"incarnation":"aaaaaaaaaaaaaaaa","users":"","sessions":0,"connections":0,"lagMs":1e999}',
    ],
  ])("a usage report is ignored when it has %s", (_name, text) => {
    expect(parseReport(text)).toBeUndefined();
  });

  it("a usage report does not count when its worker has died or restarted", () => {
    const report = (users: string[], lagMs: number) => ({
      incarnation: INCARNATION,
      users: new Set(users),
      recent: new Set(["u1", "u5"]),
      sessions: 1,
      connections: 2,
      lagMs,
    });
    const reports = {
      a: report(["u1", "u2"], 1),
      b: report(["u2", "u3"], 4),
      c: report(["u4"], 99),
    };
    expect(sumReports(reports, (id) => id !== "c")).toEqual({
      workers: 2,
      users: 3,
      people: new Set(["u1", "u2", "u3", "u5"]),
      sessions: 2,
      connections: 4,
      lagMs: 2.5,
      worstLagMs: 4,
    });
    expect(sumReports({}, () => true)).toMatchObject({ workers: 0, users: 0, lagMs: 0 });
  });
});

describe("the cluster's metrics", () => {
  it("the cluster's metrics are the same on every worker, with a user of two workers counted once", async () => {
    const store = memoryStore();
    const one = worker(store, "w1", [session(true, [user("1", "Ada"), user("2", "Ben")])]);
    const two = worker(store, "w2", [session(true, [user("3", "Ada"), user("4", "Cleo")])]);
    await one.reported();
    await two.reported();
    for (const { cluster } of [one, two]) {
      expect(valuesOf(await cluster.series())).toMatchObject({
        "users.online": 3,
        "sessions.active": 2,
        "connections.active": 4,
        "workers.counted": 2,
      });
    }
  });

  it("the cluster's metrics are empty while the store is away", async () => {
    const store = memoryStore();
    const one = worker(store, "w1", []);
    store.isAway = true;
    expect(await one.cluster.series()).toEqual([]);
    expect((await one.cluster.toSend()).series).toEqual([]);
  });

  it("the cluster's metrics are not sent by a worker that does not lead", async () => {
    const one = worker(memoryStore(), "w1", [], { isLeading: false });
    expect((await one.cluster.toSend()).series).toEqual([]);
  });

  it("the cluster's metrics send the part of a total that was not sent yet, across failures, other senders and new processes", async () => {
    const store = memoryStore();
    const one = worker(store, "w1", []);
    await store.addToCounters({ "sessions.hosted": 5, "downloads.total": 2 });
    const failed = await one.cluster.toSend();
    expect(countsOf(failed)).toEqual({ "sessions.hosted": 5, downloads: 2 });
    // StatsD could not be reached: `sent` is not called.
    await store.addToCounters({ "sessions.hosted": 1 });
    const first = await one.cluster.toSend();
    expect(countsOf(first)).toEqual({ "sessions.hosted": 6, downloads: 2 });
    first.sent();
    await store.settled();
    // The count is what this process has sent since its start: a batch sends the increase.
    expect(countsOf(await one.cluster.toSend())).toEqual({ "sessions.hosted": 6, downloads: 2 });

    await store.addToCounters({ "sessions.hosted": 3 });
    const successor = worker(store, "w2", []);
    const next = await successor.cluster.toSend();
    expect(countsOf(next)).toEqual({ "sessions.hosted": 3, downloads: 0 });
    expect(valuesOf(next.series)).toMatchObject({ "sessions.hosted_total": 9, downloads_total: 2 });
    next.sent();
    await store.settled();
    // The first worker leads again, and does not send what the other has sent.
    expect(countsOf(await one.cluster.toSend())).toEqual({ "sessions.hosted": 6, downloads: 2 });
  });

  it("the cluster's metrics send the downloads of each version that were not sent yet", async () => {
    const store = memoryStore();
    const one = worker(store, "w1", []);
    await store.addToCounters({ "downloads.by/vscode/1.0_2B1": 2, "downloads.by/eclipse/2": 1 });
    const byVersion = (series: readonly Series[]) =>
      series.flatMap((one) =>
        one.name === "downloads_by" && one.kind === "counter" ? [[one.tag, one.value]] : [],
      );
    const first = await one.cluster.toSend();
    expect(byVersion(first.series)).toEqual([
      ["vscode/1.0+1", 2],
      ["eclipse/2", 1],
    ]);
    first.sent();
    await store.settled();
    await store.addToCounters({ "downloads.by/eclipse/2": 4 });
    const successor = worker(store, "w2", []);
    expect(byVersion((await successor.cluster.toSend()).series)).toEqual([
      ["vscode/1.0+1", 0],
      ["eclipse/2", 4],
    ]);
    expect(byVersion(await successor.cluster.series())).toEqual([
      ["vscode/1.0+1", 2],
      ["eclipse/2", 5],
    ]);
  });

  it("the cluster's metrics count nothing twice when the marks could not be written, and continue after a flush", async () => {
    const store = memoryStore();
    const one = worker(store, "w1", []);
    await store.addToCounters({ "sessions.hosted": 5 });
    const first = await one.cluster.toSend();
    store.isAway = true;
    first.sent();
    await store.settled();
    store.isAway = false;
    expect(countsOf(await one.cluster.toSend())).toMatchObject({ "sessions.hosted": 5 });
    store.flush();
    expect(countsOf(await one.cluster.toSend())).toMatchObject({ "sessions.hosted": 5 });
    await store.addToCounters({ "sessions.hosted": 1 });
    expect(countsOf(await one.cluster.toSend())).toMatchObject({ "sessions.hosted": 6 });
  });
});

// --- helpers ---

type CountedSession = ReturnType<typeof session>;

function user(id: string, name: string, email?: string): UserRecord {
  return { id, name, ...(email !== undefined && { email }), authProvider: "simple" };
}

function session(isOpen: boolean, users: readonly UserRecord[], more: object = {}) {
  const peers = users.map((record) => ({
    isConnected: true,
    waitingBytes: 0,
    record: { user: record },
    ...more,
  }));
  return { isOpen, peers };
}

function people(key = KEY) {
  const sessions: CountedSession[] = [];
  const hashOf = createPersonHash(key);
  return { sessions, peopleCounter: createPeopleCounter({ hashOf, sessions: () => sessions }) };
}

/** The parts of a store that are used, in memory. */
function memoryStore() {
  const time = { nowMs: 1_000_000, wallMs: 1_000_000 };
  let state = createStoreState(time);
  let running: Promise<unknown> = Promise.resolve();
  const store = {
    get deferred() {
      return store;
    },
    isAway: false,
    flush: () => {
      state = createStoreState(time);
    },
    settled: () => running,
    put: (value: NewValue) => ask(() => state.operations.put(time, value)),
    list: (kind: ReportKind) => ask(() => state.operations.list(time, kind)),
    readCounters: (prefix: string) => ask(() => state.operations.readCounters(time, prefix)),
    addToCounters: (increments: Record<string, number>) =>
      ask(() => state.operations.addToCounters(time, increments)),
  };
  async function answer<T>(operation: () => T): Promise<T> {
    if (store.isAway) throw new StoreAwayError("any");
    return operation();
  }
  function ask<T>(operation: () => T): Promise<T> {
    const answered = answer(operation);
    running = answered.catch(() => {});
    return answered;
  }
  return store;
}

function worker(
  store: ReturnType<typeof memoryStore>,
  id: string,
  sessions: readonly CountedSession[],
  leadership = { isLeading: true },
) {
  const clock = createStepClock();
  const lateness = { meanMs: 1, p99Ms: 1, maxMs: 1, utilization: 0, cpu: 0 };
  const cluster = new Cluster({
    store,
    view: { worker: () => ({ incarnation: INCARNATION }) },
    self: { id: id as WorkerId, incarnation: INCARNATION },
    peopleCounter: createPeopleCounter({ hashOf: createPersonHash(KEY), sessions: () => sessions }),
    recentPeople: { hashes: new Set() },
    lag: { recent: lateness },
    leadership,
    intervalMs: 10_000,
    clock,
    log: silentLog(),
  });
  onTestFinished(() => cluster.close());
  return {
    cluster,
    async reported() {
      clock.advance(5000);
      await store.settled();
    },
  };
}

function valuesOf(series: readonly Series[]): Record<string, number> {
  return Object.fromEntries(
    series.flatMap((one) => (one.kind === "histogram" ? [] : [[one.name, one.value] as const])),
  );
}

function countsOf({ series }: { series: readonly Series[] }): Record<string, number> {
  return valuesOf(series.filter(({ kind }) => kind === "counter"));
}
