/**
 * Records as other versions wrote them, in records/: journals of the embedded store and the commands that restore a Redis, made
 * by the code of the named commits, which went through all operations that write. Today's stores read all of them.
 */
import fs from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import type { SessionId, SessionKey, WorkerId } from "../../../shared/base/ids.ts";
import { readEvents } from "../../../shared/cluster/history.ts";
import type { Store } from "../../../shared/store/store.ts";
import { connectStore, startServer } from "../../support/embedded-store.ts";
import { collectingLog } from "../../support/logs.ts";
import { openStore, settle, startRedis } from "../../support/redis.ts";
import { tempFolder } from "../../support/temp-folder.ts";

const OPEN = "o".repeat(24) as SessionId;
const RELEASED = "r".repeat(24) as SessionId;
const CLOSED = "c".repeat(24) as SessionId;
const LOCKED = "l".repeat(24) as SessionId;

function fileOf(name: string): string {
  return path.join(import.meta.dirname, "records", name);
}

async function fromJournal(name: string): Promise<{ store: Store; complaints: () => unknown[] }> {
  const dataDir = tempFolder();
  fs.copyFileSync(fileOf(name), path.join(dataDir, "store.journal"));
  const { log, lines } = collectingLog();
  const { socketPath } = await startServer({ dataDir, log });
  return { store: await connectStore(socketPath), complaints: () => lines };
}

async function fromRedis(name: string): Promise<{ store: Store; complaints: () => unknown[] }> {
  const redis = await startRedis();
  const admin = redis.admin();
  await settle(admin);
  for (const line of fs.readFileSync(fileOf(name), "utf8").trim().split("\n")) {
    const [command = "", ...args] = JSON.parse(line) as string[];
    await admin.call(command, ...args);
  }
  const { store, lines } = openStore(redis.url);
  await store.timeMs();
  return { store, complaints: () => lines.filter((line) => line.includes("ignored")) };
}

describe.each([
  ["a journal of commit 6cbddef", () => fromJournal("6cbddef.journal")],
  ["a Redis of commit 6cbddef", () => fromRedis("6cbddef.redis")],
  ["a journal of commit f853af2", () => fromJournal("f853af2.journal")],
  ["a Redis of commit f853af2", () => fromRedis("f853af2.redis")],
] as const)("%s", (source, open) => {
  it(`${source} has its sessions, with peers, revoked tokens, alias and clock`, async () => {
    const { store, complaints } = await open();
    const user = {
      name: "Ünï \u{1f600} \"'\\",
      email: "u@example.com",
      authProvider: "x",
    };
    const peer = {
      publicKey: "cHVibGljIGtleQ==",
      client: "ide/1",
      compression: ["none", "gzip"],
    };
    const owner = { owner: "worker-1", incarnation: "a".repeat(16), userId: "user-1" };
    const found = await store.findSession("team/ä" as SessionKey);
    expect(found).toEqual({
      ...owner,
      id: OPEN,
      epoch: expect.any(Number),
      state: "open",
      alias: "team/ä",
      clock: 2,
      createdMs: expect.any(Number),
      peers: [
        {
          ...peer,
          id: "host",
          host: true,
          user: { id: "user-host", ...user },
          tokenId: "jti/host",
          settled: true,
        },
        {
          ...peer,
          id: "guest",
          host: false,
          user: { id: "user-guest", ...user },
          tokenId: "jti/guest",
          settled: false,
        },
      ],
      revokedTokens: ["jti/gone"],
    });
    expect(await store.findSession(RELEASED)).toMatchObject({
      ...owner,
      state: "released",
      successor: "worker-2",
    });
    expect(await store.findSession(CLOSED)).toMatchObject({ ...owner, state: "closed" });
    const listed = await store.sessionsOf("worker-1" as WorkerId);
    expect(listed.filter((id) => id !== LOCKED).sort()).toEqual([OPEN, RELEASED]);
    expect(await store.owners()).toEqual(["worker-1"]);
    expect(complaints()).toEqual([]);
  });

  it(`${source} has its tickets, revoked tokens, agreed values, counters, streams and history`, async () => {
    const { store, complaints } = await open();
    expect(await store.readTicket("login", "t-1")).toEqual({
      state: "answered",
      token: "t-1",
      question: { who: 1 },
      answer: { ok: [null, "x"] },
    });
    expect(await store.ticketsOf("join", OPEN)).toEqual([
      { state: "waiting", token: "t-2", question: "why" },
    ]);
    expect(await store.readTicket("join", "t-3")).toBeUndefined();
    expect(await store.get("revoked", "jti-x")).toBe("");
    expect(await store.get("revoked", "jti-y")).toBeUndefined();
    const agreed = { kind: "agreed", key: "companion/1/abc" } as const;
    expect(await store.put({ ...agreed, text: "another" })).toBe("1700000000000");
    expect(await store.readCounters("")).toMatchObject({ "downloads/vscode/1.0": 2, joins: 5 });
    const texts = await store.readStream("history-hour", { limit: 9 });
    expect(texts.map(({ text }) => text)).toEqual(["one", "two\n\u2028"]);

    const events = await readEvents(store, { limit: 9 });
    const common = { worker: "worker-1", epoch: 7, atMs: expect.any(Number) };
    expect(events).toEqual([
      { ...common, kind: "created", sessionId: OPEN, cause: "asked" },
      { ...common, kind: "released", sessionId: RELEASED, cause: "drain" },
      { ...common, kind: "joined", sessionId: OPEN, cause: "guest" },
    ]);
    for (const { atMs } of events) expect(atMs).toBeGreaterThan(1_700_000_000_000);
    const ofOne = await readEvents(store, { limit: 9, sessionId: OPEN });
    expect(ofOne.map(({ cause }) => cause)).toEqual(["asked", "guest"]);
    expect(complaints()).toEqual([]);
  });
});

describe.each([
  ["a journal of commit f853af2", () => fromJournal("f853af2.journal")],
  ["a Redis of commit f853af2", () => fromRedis("f853af2.redis")],
] as const)("%s", (source, open) => {
  it(`${source} has its locks of sessions, sign-ins and registers`, async () => {
    const { store } = await open();
    expect(await store.findSession(LOCKED)).toMatchObject({ locked: true });
    const signIn = { id: "sign-in-1", revision: 2, keys: ["user-1", "name-1"], data: { a: [1] } };
    expect(await store.findSignIns({ id: "sign-in-1" })).toEqual([signIn]);
    expect(await store.findSignIns({ key: "name-1" })).toEqual([signIn]);
    const register = await store.readStream("acme", { limit: 9 });
    expect(register.map(({ text }) => text)).toEqual(["abcdefghijkl 1/1 the register"]);
  });
});

it.each(["6cbddef.redis", "f853af2.redis"])(
  "%s has the reports of its members, the usage under its former name too",
  async (name) => {
    const { store } = await fromRedis(name);
    expect(await store.list("view")).toEqual({ "worker-1": '{"a":1}' });
    expect(await store.list("usage")).toEqual({ "worker-1": '{"b":2}' });
    expect(await store.get("view", "worker-1")).toBe('{"a":1}');
  },
);
