/**
 * Records and requests of the version before the stores' names changed, written out: they still work, in Redis also while
 * a process of that version runs beside a new one.
 */
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import type { Redis } from "ioredis";
import { beforeAll, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import {
  type Incarnation,
  newSessionId,
  type PeerId,
  type SessionId,
  type WorkerId,
} from "../../../shared/base/ids.ts";
import { appendEvent, readEvents } from "../../../shared/cluster/history.ts";
import type { EdgeEvent, SessionChange, Store } from "../../../shared/store/store.ts";
import { worker } from "../../contract/store.ts";
import { connectStore, startServer } from "../../support/embedded-store.ts";
import { collectingLog } from "../../support/logs.ts";
import { openStore, settle, startRedis, type TestRedis } from "../../support/redis.ts";
import { connectRaw } from "../../support/sockets.ts";
import { tempFolder } from "../../support/temp-folder.ts";
import { until } from "../../support/until.ts";

const SESSION = "R00MR00MR00MR00MR00MR00M" as SessionId;
const W1 = worker("worker-1", "aaaaaaaaaaaaaaaa" as Incarnation);
const W2 = worker("worker-2", "bbbbbbbbbbbbbbbb" as Incarnation);
const W3 = worker("worker-3", "cccccccccccccccc" as Incarnation);
const EPOCH = 1_764_140_000_000;
const PEER = {
  id: "peer-1" as PeerId,
  host: true,
  user: { id: "u1", name: "Ada" },
  publicKey: "a2V5",
  client: "ide/1",
  compression: ["none"],
  tokenId: "jti-1",
  settled: true,
};

function resume(store: Store, claimant: typeof W1) {
  const { id, incarnation } = claimant;
  return store.resumeSession({ sessionId: SESSION, worker: id, incarnation });
}

describe("Redis with records of the version before", () => {
  const HASH = `{ct}:session:${SESSION}`;
  let redis: TestRedis;
  let admin: Redis;
  let store: Store;

  beforeAll(async () => {
    redis = await startRedis();
    admin = redis.admin();
  });

  beforeEach(async () => {
    await admin.flushall();
    await settle(admin);
    ({ store } = openStore(redis.url));
    for (const member of [W1, W2, W3]) await store.announce(member);
  });

  /** An open session of worker-1, command by command as the scripts of that version wrote it. */
  async function oldCreate(): Promise<void> {
    await admin.hset(
      HASH,
      ...["owner", "worker-1", "incarnation", W1.incarnation, "epoch", EPOCH, "state", "open"],
      ...["user", '"u1"', "clock", 1, "created", EPOCH, "opened", 1, "turn", 1],
    );
    await admin.hset(`{ct}:peers:${SESSION}`, PEER.id, `1\n"jti-1"\n${JSON.stringify(PEER)}`);
    await admin.zadd(`{ct}:left:${SESSION}`, EPOCH * 2, '"jti-0"');
    await admin.zadd("{ct}:owner:worker-1", "+inf", SESSION);
    await admin.zadd("{ct}:owners", "+inf", "worker-1");
    await admin.zadd('{ct}:user:"u1"', "+inf", SESSION);
  }

  async function oldRelease(to: WorkerId | undefined): Promise<void> {
    await admin.hdel(HASH, "heir");
    await admin.hset(HASH, "state", "released");
    if (to !== undefined) await admin.hset(HASH, "heir", to);
  }

  async function oldResume(by: typeof W1, epoch: number): Promise<void> {
    await admin.hdel(HASH, "heir");
    const { id, incarnation } = by;
    await admin.hset(HASH, { owner: id, incarnation, epoch, state: "open" });
  }

  function hold(owner: WorkerId, epoch: number) {
    return { sessionId: SESSION, owner, epoch };
  }

  it("Redis gives a session that an older worker released to the `heir` in its hash only", async () => {
    await oldCreate();
    await oldRelease(W2.id);
    expect(await store.findSession(SESSION)).toEqual({
      id: SESSION,
      owner: "worker-1",
      incarnation: W1.incarnation,
      epoch: EPOCH,
      state: "released",
      successor: "worker-2",
      userId: "u1",
      clock: 1,
      peers: [PEER],
      revokedTokens: ["jti-0"],
      createdMs: EPOCH,
    });
    expect(await resume(store, W3)).toMatchObject({ outcome: "elsewhere", owner: "worker-2" });
    expect(await resume(store, W2)).toMatchObject({ outcome: "owned", cause: "handed" });
    expect(await admin.hmget(HASH, "heir", "successor")).toEqual([null, null]);
  });

  it("Redis shows an older worker the successor that a new one names, under the name that it reads", async () => {
    await oldCreate();
    expect(await store.changeSession(hold(W1.id, EPOCH), { kind: "release", to: W2.id })).toBe(
      "done",
    );
    expect(await admin.hmget(HASH, "state", "heir", "successor")).toEqual([
      "released",
      "worker-2",
      "worker-2",
    ]);
    await store.changeSession(hold(W1.id, EPOCH), { kind: "release" });
    expect(await admin.hmget(HASH, "heir", "successor")).toEqual([null, null]);
  });

  it("both names of a successor are removed when a session is closed", async () => {
    await oldCreate();
    await store.changeSession(hold(W1.id, EPOCH), { kind: "release", to: W2.id });
    await store.changeSession(hold(W1.id, EPOCH), { kind: "close", untilMs: Date.now() + 60_000 });
    expect(await admin.hmget(HASH, "state", "heir", "successor")).toEqual(["closed", null, null]);
  });

  it("a hash that names the successor by its new name only is read", async () => {
    await oldCreate();
    await admin.hset(HASH, { state: "released", successor: "worker-2" });
    expect(await store.findSession(SESSION)).toMatchObject({ successor: "worker-2" });
    expect(await resume(store, W3)).toMatchObject({ outcome: "elsewhere", owner: "worker-2" });
    expect(await resume(store, W2)).toMatchObject({ outcome: "owned", cause: "handed" });
  });

  it("a session is followed from a new worker to an older one and on, whatever that one left in the hash", async () => {
    await oldCreate();
    await store.changeSession(hold(W1.id, EPOCH), { kind: "release", to: W2.id });
    await oldResume(W2, EPOCH + 1);
    expect(await store.findSession(SESSION)).not.toHaveProperty("successor");

    await oldRelease(W3.id);
    expect(await store.findSession(SESSION)).toMatchObject({ successor: "worker-3" });
    expect(await resume(store, W1)).toMatchObject({ outcome: "elsewhere", owner: "worker-3" });

    await oldRelease(undefined);
    expect(await store.findSession(SESSION)).not.toHaveProperty("successor");
    expect(await resume(store, W1)).toMatchObject({ outcome: "owned", cause: "handed" });
  });

  it("a token is revoked for new and older workers, whichever of them revoked it", async () => {
    const untilMs = Date.now() + 60_000;
    const isRevokedForOlder = async (tokenId: string) =>
      Number(await admin.zscore("{ct}:buried", tokenId)) > Date.now();

    await admin.zadd("{ct}:buried", "GT", untilMs, "by-older");
    expect(await store.get("revoked", "by-older")).toBe("");
    expect(await isRevokedForOlder("by-older")).toBe(true);

    await store.put({ kind: "revoked", key: "by-newer", untilMs });
    expect(await store.get("revoked", "by-newer")).toBe("");
    expect(await isRevokedForOlder("by-newer")).toBe(true);
    expect(await isRevokedForOlder("by-none")).toBe(false);

    // Each of the two keys is enough by itself.
    await admin.del("{ct}:buried");
    expect(await store.get("revoked", "by-newer")).toBe("");
  });

  it("the later of two times until which older and new workers revoked a token is kept", async () => {
    const laterMs = Date.now() + 3_600_000;
    await admin.zadd("{ct}:buried", "GT", laterMs, "token");
    await store.put({ kind: "revoked", key: "token", untilMs: Date.now() + 1000 });
    expect(Number(await admin.zscore("{ct}:buried", "token"))).toBe(laterMs);
    await admin.zadd("{ct}:revoked", Date.now() - 1, "token");
    expect(await store.get("revoked", "token")).toBe("");
  });

  it("the usage that older workers report as `census` is read, and what a worker reports under the new name is preferred", async () => {
    const laterMs = Date.now() + 60_000;
    await admin.zadd("{ct}:reports:census", laterMs, "worker-1", laterMs, "worker-2");
    await admin.set("{ct}:report:census:worker-1", "old one", "PX", 60_000);
    await admin.set("{ct}:report:census:worker-2", "old two", "PX", 60_000);
    await store.put({ kind: "usage", key: W2.id, text: "new two", ttlMs: 60_000 });
    expect(await store.list("usage")).toEqual({
      "worker-1": "old one",
      "worker-2": "new two",
    });
  });
});

describe("the embedded store after the version before", () => {
  const HEAD = {
    id: SESSION,
    owner: "worker-1",
    incarnation: W1.incarnation,
    epoch: EPOCH,
    userId: "u1",
    clock: 1,
    createdMs: EPOCH,
    opened: true,
  };

  async function start(dataDir?: string) {
    const { log, lines } = collectingLog();
    const { socketPath } = await startServer({ ...(dataDir && { dataDir }), log });
    return { socketPath, lines };
  }

  /** Sends requests as an older process would, and resolves with the values of their replies. */
  async function connectAsOlder(socketPath: string) {
    const raw = await connectRaw({ path: socketPath });
    let lastId = 0;
    return async (op: string, ...args: unknown[]): Promise<unknown> => {
      const id = ++lastId;
      raw.write(`${JSON.stringify({ id, op, args })}\n`);
      return until(`a reply to ${op}`, () => {
        const line = raw.text.split("\n").find((one) => one.startsWith(`{"id":${id}`));
        // Until its line is complete, it cannot be parsed.
        return line !== undefined && { reply: JSON.parse(line) as { value: unknown } };
      }).then(({ reply }) => reply.value);
    };
  }

  /** Replies to each request with what `reply` returns. */
  async function oldServer(reply: (op: string, args: unknown[]) => object): Promise<string> {
    const socketPath = path.join(tempFolder(), "old.sock");
    const server = net.createServer((socket) => {
      socket.on("data", (chunk) => {
        for (const line of chunk.toString().trim().split("\n")) {
          const { id, op, args } = JSON.parse(line);
          socket.write(`${JSON.stringify({ id, ...reply(op, args) })}\n`);
        }
      });
    });
    server.listen(socketPath);
    onTestFinished(() => void server.close());
    await once(server, "listening");
    return socketPath;
  }

  it("the embedded store reads a journal with `heir` and `buried/` without a warning, and writes today's names", async () => {
    const dir = tempFolder();
    const file = path.join(dir, "store.journal");
    const head = JSON.stringify({ ...HEAD, state: "released", heir: "worker-2" });
    fs.writeFileSync(
      file,
      `[["session/${SESSION}",${head}]]
[["peer/${SESSION}/peer-1",${JSON.stringify(PEER)}],["left/${SESSION}/jti-0",${EPOCH * 2}]]
[["buried/jti-x",${EPOCH * 2}]]
[["buried/jti-y",${EPOCH * 2}]]
[["buried/jti-y"]]
[["agreed/greeting","hello"]]
`,
    );
    const { socketPath, lines } = await start(dir);
    const store = await connectStore(socketPath);
    expect(await store.findSession(SESSION)).toMatchObject({
      state: "released",
      successor: "worker-2",
      peers: [PEER],
      revokedTokens: ["jti-0"],
    });
    expect(await store.get("revoked", "jti-x")).toBe("");
    expect(await store.get("revoked", "jti-y")).toBeUndefined();
    expect(await store.put({ kind: "agreed", key: "greeting", text: "another" })).toBe("hello");
    expect(lines).toEqual([]);
    expect(fs.readdirSync(dir).filter((name) => name.includes(".bad-"))).toEqual([]);

    const written = fs.readFileSync(file, "utf8");
    expect(written).toContain('"successor":"worker-2"');
    expect(written).toContain('"revoked/jti-x"');
    expect(written).not.toMatch(/heir|buried/);
  });

  it("the embedded store answers the requests of an older process in its words", async () => {
    const { socketPath } = await start();
    const raw = await connectRaw({ path: socketPath });
    const untilMs = EPOCH * 2;
    const reassertion = { ...HEAD, state: "open", buriedTokens: ["jti-0"], untilMs };
    const requests = [
      { id: 1, op: "agree", args: ["greeting", "hello"] },
      { id: 2, op: "buryToken", args: ["jti-x", untilMs] },
      { id: 3, op: "isTokenBuried", args: ["jti-x"] },
      { id: 4, op: "reassertSession", args: [reassertion] },
      { id: 5, op: "report", args: ["census", "worker-1", "text", 60_000] },
      { id: 6, op: "readReports", args: ["census"] },
    ];
    raw.write(requests.map((request) => `${JSON.stringify(request)}\n`).join(""));
    const answered = () =>
      raw.text
        .split("\n")
        .filter((line) => line.startsWith('{"id"'))
        .map((line) => JSON.parse(line));
    await expect.poll(() => answered().length).toBe(6);
    expect(answered()).toEqual([
      { id: 1, value: "hello" },
      { id: 2 },
      { id: 3, value: true },
      { id: 4, value: "written" },
      { id: 5 },
      { id: 6, value: { "worker-1": "text" } },
    ]);

    const store = await connectStore(socketPath);
    expect(await store.get("revoked", "jti-x")).toBe("");
    expect(await store.list("usage")).toEqual({ "worker-1": "text" });
    expect(await store.findSession(SESSION)).toMatchObject({ revokedTokens: ["jti-0"] });
  });

  it("the embedded store answers an older process that changes a session, resigns and reads the history in its words", async () => {
    const { socketPath } = await start();
    const store = await connectStore(socketPath);
    const ask = await connectAsOlder(socketPath);
    const untilMs = EPOCH * 2;
    const reassertion = { ...HEAD, state: "open", buriedTokens: [], untilMs };
    expect(await ask("reassertSession", reassertion)).toBe("written");
    const holder = { sessionId: SESSION, owner: W1.id, epoch: EPOCH };
    expect(await ask("openSession", holder)).toBe("done");
    expect(await ask("putPeer", holder, PEER)).toBe("done");
    expect(await store.findSession(SESSION)).toMatchObject({ peers: [PEER] });
    expect(await ask("removePeer", holder, PEER.id, untilMs)).toBe("done");
    expect(await ask("nextClock", holder)).toBe(2);
    expect(await ask("nextClock", { ...holder, epoch: 1 })).toBe("lost");
    expect(await ask("releaseSession", holder, W2.id)).toBe("done");
    expect(await store.findSession(SESSION)).toMatchObject({
      state: "released",
      successor: "worker-2",
      revokedTokens: ["jti-1"],
    });
    expect(await ask("releaseSession", holder, null)).toBe("done");
    expect(await store.findSession(SESSION)).not.toHaveProperty("successor");
    expect(await ask("closeSession", holder, untilMs)).toBe("done");
    expect(await store.findSession(SESSION)).toMatchObject({ state: "closed" });
    expect(await ask("resign", "reaper", W1.id)).toBeUndefined();

    const event = { kind: "joined", sessionId: SESSION, worker: W1.id, epoch: EPOCH };
    for (const cause of ["one", "two"]) {
      expect(await ask("appendEvent", { ...event, cause })).toBeUndefined();
    }
    await ask("appendEvent", { ...event, sessionId: newSessionId(), cause: "another" });
    const atMs = expect.any(Number);
    const one = { ...event, cause: "one", atMs };
    const two = { ...event, cause: "two", atMs };
    expect(await ask("readEvents", { limit: 9, sessionId: SESSION })).toEqual([one, two]);
    expect(await ask("readEvents", { limit: 1, sessionId: SESSION })).toEqual([two]);
    expect(await ask("readEvents", { limit: 2 })).toMatchObject([two, { cause: "another" }]);
    expect(await ask("readEvents", { limit: 0 })).toEqual([]);
    expect(await readEvents(store, { limit: 9 })).toHaveLength(3);
  });

  it("an older embedded store is asked for changes of a session, roles and the history in its own words", async () => {
    const holder = { sessionId: SESSION, owner: W1.id, epoch: EPOCH };
    const event: EdgeEvent = {
      ...{ kind: "joined", sessionId: SESSION, worker: W1.id, epoch: EPOCH, cause: "guest" },
    };
    const stored = { ...event, atMs: EPOCH };
    const untilMs = EPOCH * 2;
    const change = (to: SessionChange) => (store: Store) => store.changeSession(holder, to);
    /** What is asked of today's store, the request that the older one gets, its reply, and what becomes of that. */
    const calls: [(store: Store) => Promise<unknown>, unknown[], unknown, unknown][] = [
      [change({ kind: "open" }), ["openSession", holder], "done", "done"],
      [change({ kind: "put-peer", peer: PEER }), ["putPeer", holder, PEER], "done", "done"],
      [
        change({ kind: "remove-peer", peer: PEER.id, untilMs }),
        ["removePeer", holder, PEER.id, untilMs],
        "lost",
        "lost",
      ],
      [change({ kind: "release", to: W2.id }), ["releaseSession", holder, W2.id], "done", "done"],
      [change({ kind: "release" }), ["releaseSession", holder, null], "done", "done"],
      [change({ kind: "close", untilMs }), ["closeSession", holder, untilMs], "done", "done"],
      [change({ kind: "next-clock" }), ["nextClock", holder], 7, 7],
      [(store) => store.lead("reaper", W1.id, 0), ["resign", "reaper", W1.id], null, "following"],
      [(store) => store.list("usage"), ["readReports", "census"], { w: "t" }, { w: "t" }],
      [(store) => appendEvent(store, event), ["appendEvent", event], null, undefined],
      [
        (store) => readEvents(store, { limit: 1 }),
        ["readEvents", { limit: expect.any(Number) }],
        [{ ...stored, cause: "early" }, stored],
        [stored],
      ],
    ];
    const requests: { op: string; args: unknown[] }[] = [];
    let current: (typeof calls)[number] | undefined;
    const socketPath = await oldServer((op, args) => {
      if (op === "timeMs") return { value: EPOCH };
      requests.push({ op, args });
      return op === current?.[1][0] ? { value: current?.[2] } : { error: "unknown operation" };
    });
    const store = await connectStore(socketPath);
    for (current of calls) {
      const [ask, [op, ...args], , result] = current;
      const got = await ask(store);
      expect(got ?? undefined).toEqual(result);
      expect(requests.at(-1)).toEqual({ op, args });
    }
    // It has no locks.
    await expect(change({ kind: "lock", isLocked: true })(store)).rejects.toMatchObject({
      code: "EDGE_STORE_REFUSED",
    });
  });

  it("an older embedded store is asked in its own words by a newer process, and its records are understood", async () => {
    const untilMs = EPOCH * 2;
    const requests: { op: string; args: unknown[] }[] = [];
    const record = { ...HEAD, state: "released", heir: "worker-2", peers: [], buriedTokens: ["t"] };
    const values: Record<string, unknown> = {
      timeMs: EPOCH,
      agree: "hello",
      buryToken: undefined,
      isTokenBuried: true,
      findSession: record,
      resumeSession: { outcome: "owned", cause: "handed", record },
    };
    const socketPath = await oldServer((op, args) => {
      requests.push({ op, args });
      const [first] = args as [object];
      const isKnown =
        op in values ||
        (op === "reassertSession" && "buriedTokens" in first) ||
        (["report", "readReports"].includes(op) && args[0] === "census");
      return isKnown ? { value: values[op] ?? null } : { error: "refused" };
    });
    const store = await connectStore(socketPath);

    expect(await store.put({ kind: "agreed", key: "greeting", text: "hello" })).toBe("hello");
    await store.put({ kind: "revoked", key: "jti-x", untilMs });
    expect(await store.get("revoked", "jti-x")).toBe("");
    const { opened: _opened, ...head } = HEAD;
    const asserted = { ...head, owner: W1.id, revokedTokens: ["t"], untilMs };
    await store.reassertSession({ ...asserted, state: "open" });
    expect(requests.at(-1)).toEqual({
      op: "reassertSession",
      args: [{ ...head, buriedTokens: ["t"], untilMs, state: "open" }],
    });
    await store.put({ kind: "usage", key: W1.id, text: "text", ttlMs: 1000 });
    expect(requests.at(-1)).toEqual({ op: "report", args: ["census", "worker-1", "text", 1000] });
    const renamed = { successor: "worker-2", revokedTokens: ["t"] };
    expect(await store.findSession(SESSION)).toMatchObject(renamed);
    expect(await store.findSession(SESSION)).not.toHaveProperty("heir");
    expect(await resume(store, W2)).toMatchObject({ outcome: "owned", record: renamed });
    await expect(
      store.put({ kind: "view", key: W1.id, text: "text", ttlMs: 1000 }),
    ).rejects.toMatchObject({
      code: "EDGE_STORE_REFUSED",
    });
  });
});
