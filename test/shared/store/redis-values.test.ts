/** The Redis store among values that somebody else has planted: left out, counted, and never a reason to fail. */
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  newIncarnation,
  newPeerId,
  newSessionId,
  type SessionId,
  type SessionKey,
  type WorkerId,
} from "../../../shared/base/ids.ts";
import { appendEvent, readEvents } from "../../../shared/cluster/history.ts";
import type { Holder, SessionRecord } from "../../../shared/store/store.ts";
import { balancer, peer, worker } from "../../contract/store.ts";
import { watchMachine } from "../../support/machine.ts";
import {
  openStore,
  settle,
  startRedis,
  type TestRedis,
  type TestStore,
} from "../../support/redis.ts";

const machine = watchMachine();

const LATER_MS = 3_600_000;
const one = worker("worker-1");

let redis: TestRedis;
let admin: ReturnType<TestRedis["admin"]>;
let opened: TestStore;
let store: TestStore["store"];

beforeAll(async () => {
  redis = await startRedis();
  admin = redis.admin();
});

beforeEach(async () => {
  await admin.flushall();
  await settle(admin);
  opened = openStore(redis.url);
  store = opened.store;
});

async function create(more: { alias?: SessionKey } = {}): Promise<SessionRecord> {
  const created = await store.createSession({
    sessionId: newSessionId(),
    owner: one.id,
    incarnation: one.incarnation,
    userId: "user",
    maxPerUser: 1000,
    ...more,
  });
  if (created.outcome !== "created") throw new Error("not created");
  return created.record;
}

function holderOf({ id, owner, epoch }: SessionRecord): Holder {
  return { sessionId: id, owner, epoch };
}

/** Every way in which a key can be of the wrong type, or full of nonsense. */
const GARBAGE: Record<string, (key: string) => Promise<unknown>> = {
  "a string": (key) => admin.set(key, "nonsense"),
  "an empty string": (key) => admin.set(key, ""),
  "a large string": (key) => admin.set(key, "x".repeat(100_000)),
  bytes: (key) => admin.set(key, Buffer.from([0xff, 0xfe, 0x00, 0x0a, 0xc3])),
  "a hash": (key) => admin.hset(key, { owner: "\u0000", state: "open", toString: "x" }),
  "a list": (key) => admin.rpush(key, "a", "b"),
  "a set": (key) => admin.sadd(key, "a", "b"),
  "a sorted set": (key) => admin.zadd(key, 5, "nonsense", "+inf", "__proto__"),
  "a stream": (key) => admin.xadd(key, "*", "event", "nonsense"),
};

describe("an invalid value in place of a record", () => {
  for (const [what, plant] of Object.entries(GARBAGE)) {
    it(`${what} in place of a record at every key breaks no operation`, async () => {
      const record = await create({ alias: "team-a" as SessionKey });
      await store.announce(one);
      await store.changeSession(holderOf(record), { kind: "open" });
      await store.changeSession(holderOf(record), { kind: "put-peer", peer: peer() });
      await store.putTicket({ kind: "join", token: "t", question: 1, group: "g", ttlMs: LATER_MS });
      await store.put({ kind: "revoked", key: "token", untilMs: Date.now() + LATER_MS });
      await store.addToCounters({ joins: 1 });
      await store.put({ kind: "agreed", key: "greeting", text: "hello" });
      await appendEvent(store, event(record.id));
      await store.appendToStream("log-access", ["a line"]);
      await store.put({ kind: "view", key: one.id, text: "a view", ttlMs: LATER_MS });
      for (const key of await admin.keys("*")) {
        await admin.del(key);
        await plant(key);
      }
      await admin.pexpire(`{ct}:member:${one.id}`, 4000);

      expect((await store.members()).members).toEqual([]);
      expect(await store.findSession(record.id)).toBeUndefined();
      expect(await store.findSession("team-a" as SessionKey)).toBeUndefined();
      expect(await store.sessionsOf(one.id)).toEqual([]);
      expect(await store.owners()).toEqual([]);
      expect(
        await store.resumeSession({
          sessionId: record.id,
          worker: one.id,
          incarnation: one.incarnation,
        }),
        // It does not know any more since when it has been there.
      ).toEqual({ outcome: "unsettled" });
      expect(await store.changeSession(holderOf(record), { kind: "open" })).toBe("lost");
      expect(
        await store.changeSession(holderOf(record), {
          kind: "remove-peer",
          peer: newPeerId(),
          untilMs: Date.now(),
        }),
      ).toBe("lost");
      expect(await store.readTicket("join", "t")).toBeUndefined();
      expect(await store.answerTicket("join", "t", 1)).toBe("gone");
      expect(await store.ticketsOf("join", "g")).toEqual([]);
      expect(await store.get("revoked", "token")).toBeUndefined();
      expect(await store.readCounters("")).toEqual({});
      expect(await readEvents(store, { limit: 10 })).toEqual([]);
      expect(await store.readStream("log-access", { limit: 10 })).toEqual([]);
      expect(await store.list("view")).not.toHaveProperty(one.id);

      // What is written takes the place of the garbage.
      await store.announce(one);
      expect(await store.renew(one)).toBe("renewed");
      expect((await store.members()).members).toEqual([one]);
      const fresh = await create();
      await store.changeSession(holderOf(fresh), { kind: "open" });
      expect(await store.sessionsOf(one.id)).toContain(fresh.id);
      expect(await store.owners()).toContain(one.id);
      await store.dropTicket("join", "t");
      await store.putTicket({ kind: "join", token: "t", question: 2, group: "g", ttlMs: LATER_MS });
      expect(await store.ticketsOf("join", "g")).toHaveLength(1);
      await store.put({ kind: "revoked", key: "token", untilMs: Date.now() + LATER_MS });
      expect(await store.get("revoked", "token")).toBe("");
      expect(typeof (await store.put({ kind: "agreed", key: "greeting", text: "good day" }))).toBe(
        "string",
      );
      await store.addToCounters({ joins: 2 });
      expect(await store.readCounters("")).toMatchObject({ joins: 2 });
      await appendEvent(store, event(fresh.id));
      expect(await readEvents(store, { limit: 1 })).toMatchObject([{ sessionId: fresh.id }]);
      await store.appendToStream("log-access", ["a new line"]);
      expect(await store.readStream("log-access", { limit: 1 })).toMatchObject([
        { text: "a new line" },
      ]);
      await store.put({ kind: "view", key: one.id, text: "a new view", ttlMs: LATER_MS });
      expect(await store.list("view")).toHaveProperty(one.id, "a new view");
      expect(
        await store.changeSession(holderOf(fresh), {
          kind: "close",
          untilMs: Date.now() + LATER_MS,
        }),
      ).toBe("done");
      expect(store.health).toEqual({ state: "up" });
    });
  }

  it("an invalid value in place of a record is counted, and logged once", async () => {
    await store.announce(one);
    await store.announce(balancer("balancer-1"));
    for (const value of [
      "nonsense",
      `${one.incarnation}{"kind":"worker"}`,
      // Another's record under this name, and a record under another incarnation.
      one.incarnation + JSON.stringify({ ...one, id: "worker-9" }),
      newIncarnation() + JSON.stringify(one),
      one.incarnation + JSON.stringify({ ...one, url: "http://127.0.0.1:22/admin?x=\n" }),
      one.incarnation + JSON.stringify({ ...one, url: "x".repeat(20_000) }),
    ]) {
      await admin.set("{ct}:member:worker-1", value, "PX", 5000);
      const { members, ignored } = await store.members();
      expect(members).toMatchObject([{ id: "balancer-1" }]);
      expect(ignored).toBe(1);
    }
    expect(opened.counters.value("store.ignored", "member")).toBe(6);
    expect(opened.lines.filter((line) => line.includes("ignored invalid records"))).toHaveLength(1);
  });

  it("an invalid value in one peer does not affect the others", async () => {
    const record = await create();
    const holder = holderOf(record);
    await store.changeSession(holder, { kind: "open" });
    const guest = peer();
    await store.changeSession(holder, { kind: "put-peer", peer: guest });
    const key = `{ct}:peers:${record.id}`;
    const id = newPeerId();
    await admin.hset(key, {
      x: "nonsense",
      [newPeerId()]: `1\n"t"\n${JSON.stringify(guest)}`,
      [id]: `1\n"t"\n${JSON.stringify({ ...peer({ id }), user: { id: 1 } })}`,
      y: "x".repeat(100_000),
    });
    await admin.zadd(`{ct}:left:${record.id}`, Date.now() + LATER_MS, "nonsense");
    const found = await store.findSession(record.id);
    expect(found?.peers).toEqual([guest]);
    expect(found?.revokedTokens).toEqual([]);
    expect(opened.counters.value("store.ignored", "session")).toBe(5);
  });

  it("an invalid value in place of a record reaches no prototype", async () => {
    await store.putTicket({ kind: "join", token: "t", question: 1, ttlMs: LATER_MS });
    await admin.hset(
      "{ct}:ticket:join:t",
      "question",
      '{"__proto__":{"admin":true},"a":{"__proto__":1}}',
    );
    const ticket = await store.readTicket("join", "t");
    expect(ticket?.question).toEqual({ a: {} });
    expect(Object.getPrototypeOf(ticket?.question)).toBe(Object.prototype);
    await admin.hset("{ct}:counters", "__proto__", "5");
    expect(Object.getPrototypeOf(await store.readCounters(""))).toBe(Object.prototype);
  });

  it("an invalid value on the channel of changes is ignored", async () => {
    const heard: unknown[] = [];
    store.onChange((change) => heard.push(change));
    await expect.poll(async () => (await admin.pubsub("NUMSUB", "{ct}:changes"))[1]).toBe(1);
    for (const message of [
      "",
      "nonsense",
      "1 session short",
      "2 ticket other t",
      "x members",
      `3 session ${"x".repeat(100_000)}`,
    ]) {
      await admin.publish("{ct}:changes", message);
    }
    const id = newSessionId();
    await admin.publish("{ct}:changes", `7 session ${id}`);
    await expect.poll(() => heard).toEqual([{ subject: "session", sessionId: id }]);
    // One was missed: followers of the members read them again.
    await admin.publish("{ct}:changes", `9 session ${id}`);
    await expect
      .poll(() => heard)
      .toEqual([
        { subject: "session", sessionId: id },
        { subject: "members" },
        { subject: "session", sessionId: id },
      ]);
  });
});

describe("an excessive number of records", () => {
  it("100,000 stale and 100,000 false members hide no member, and are removed", async () => {
    const nowMs = Date.now();
    await fill(100_000, (pipeline, i) => {
      pipeline.zadd("{ct}:members", nowMs - 60_000 - i, `stale-${i}`);
      pipeline.zadd("{ct}:members", nowMs + 60_000 + i, `false-${i}`);
    });
    await store.announce(one);
    const startMs = performance.now();
    expect((await store.members()).members).toEqual([one]);
    machine.expectWithin(startMs, { promisedMs: 1000 });
    for (let i = 0; i < 100; i++) await store.members();
    expect(await admin.zcard("{ct}:members")).toBe(1);
  });

  it("the store does not read a session of 100,000 peers, nor all of 100,000 counters", async () => {
    const record = await create();
    await store.changeSession(holderOf(record), { kind: "open" });
    await store.addToCounters({ joins: 1 });
    await fill(100_000, (pipeline, i) => {
      pipeline.hset(`{ct}:peers:${record.id}`, `p${i}`, "x");
      pipeline.hset("{ct}:counters", `c${i}`, "1");
    });
    const startMs = performance.now();
    expect((await store.findSession(record.id))?.peers).toEqual([]);
    expect(Object.keys(await store.readCounters("")).length).toBeLessThan(30_000);
    machine.expectWithin(startMs, { promisedMs: 1000 });
  });

  it("100,000 unopened sessions of a user do not slow the next one down", async () => {
    await fill(100_000, (pipeline, i) => {
      pipeline.zadd('{ct}:user:"user"', Date.now() - 1000 - i, `s${i}`);
      pipeline.zadd("{ct}:owner:worker-1", Date.now() - 1000 - i, `s${i}`);
    });
    const record = await create();
    expect(await store.sessionsOf(one.id)).toEqual([record.id]);
    expect(await admin.zcard('{ct}:user:"user"')).toBe(1);
  });

  it("the store keeps a limited number of tickets, dropping the oldest first", async () => {
    await fill(50_000, (pipeline, i) => {
      pipeline.zadd("{ct}:tickets:login", Date.now() + 60_000 + i, `old-${i}`);
    });
    await admin.hset("{ct}:ticket:login:old-0", "question", "1");
    await store.putTicket({ kind: "login", token: "new", question: 2, ttlMs: LATER_MS });
    expect(await store.readTicket("login", "new")).toMatchObject({ question: 2 });
    expect(await store.readTicket("login", "old-0")).toBeUndefined();
    expect(await admin.zcard("{ct}:tickets:login")).toBe(50_000);
  });

  it("the store keeps a limited number of tombstones, tokens and names of counters", async () => {
    const nowMs = Date.now();
    const old = await create();
    await store.changeSession(holderOf(old), { kind: "close", untilMs: nowMs + 30_000 });
    await fill(200_000, (pipeline, i) => {
      pipeline.zadd("{ct}:closed", nowMs + 60_000 + i, `s${i}`);
      pipeline.zadd("{ct}:revoked", nowMs + 60_000 + i, `t${i}`);
      if (i < 10_000) pipeline.hset("{ct}:counters", `c${i}`, "1");
    });
    const next = await create();
    await store.changeSession(holderOf(next), { kind: "close", untilMs: nowMs + LATER_MS });
    expect(await store.findSession(old.id)).toBeUndefined();
    expect(await admin.zcard("{ct}:closed")).toBe(200_000);
    await store.put({ kind: "revoked", key: "token", untilMs: nowMs + LATER_MS });
    expect(await store.get("revoked", "token")).toBe("");
    expect(await store.get("revoked", "t0")).toBeUndefined();
    await store.addToCounters({ c1: 1, one_too_many: 1 });
    expect(await store.readCounters("one")).toEqual({});
    expect(await store.readCounters("c1")).toMatchObject({ c1: 2 });
  });

  it("the store rejects a value that readers would reject, and names it", async () => {
    const record = await create();
    const huge = "x".repeat(100_000);
    const refusals = [
      store.changeSession(holderOf(record), { kind: "put-peer", peer: peer({ publicKey: huge }) }),
      store.putTicket({ kind: "login", token: "t", question: huge, ttlMs: 1000 }),
      store.announce({ ...one, version: huge }),
      appendEvent(store, { ...event(record.id), cause: huge }),
    ];
    for (const refusal of refusals) {
      await expect(refusal).rejects.toMatchObject({ code: "EDGE_STORE_VALUE" });
    }
    await store.changeSession(holderOf(record), {
      kind: "put-peer",
      peer: peer({ publicKey: "x".repeat(14_000) }),
    });
    expect((await store.findSession(record.id))?.peers).toHaveLength(1);
  });

  it("the store leaves no key behind when sessions and tickets have expired", async () => {
    const record = await create({ alias: "team-a" as SessionKey });
    await store.changeSession(holderOf(record), { kind: "open" });
    const guest = peer();
    await store.changeSession(holderOf(record), { kind: "put-peer", peer: guest });
    await store.changeSession(holderOf(record), {
      kind: "remove-peer",
      peer: guest.id,
      untilMs: Date.now() + LATER_MS,
    });
    await create({ alias: "team-b" as SessionKey });
    await store.putTicket({ kind: "join", token: "t", question: 1, group: "g", ttlMs: 1000 });
    await store.changeSession(holderOf(record), { kind: "close", untilMs: Date.now() + 1000 });
    const lasting = ["{ct}:boot", "{ct}:counters", "{ct}:turn", "{ct}:version"];
    const ttls = await Promise.all(
      (await admin.keys("*")).map(async (key) => [key, await admin.pttl(key)] as const),
    );
    expect(
      ttls
        .filter(([, ttl]) => ttl < 0)
        .map(([key]) => key)
        .sort(),
    ).toEqual(lasting);
  });
});

type Pipeline = ReturnType<ReturnType<TestRedis["admin"]>["pipeline"]>;

/** Plants many values in few round trips. */
async function fill(count: number, plant: (pipeline: Pipeline, i: number) => void): Promise<void> {
  for (let from = 0; from < count; from += 10_000) {
    const pipeline = admin.pipeline();
    for (let i = from; i < Math.min(count, from + 10_000); i++) plant(pipeline, i);
    await pipeline.exec();
  }
}

function event(sessionId: SessionId) {
  return {
    kind: "created",
    sessionId,
    worker: "worker-1" as WorkerId,
    epoch: 7,
    cause: "x",
  } as const;
}
