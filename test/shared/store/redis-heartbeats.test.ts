/** What the Redis store sends with a heartbeat, and what becomes of it when something fails. Time is stepped. */
import { beforeEach, describe, expect, it } from "vitest";
import type { Store } from "../../../shared/store/store.ts";
import { worker } from "../../contract/store.ts";
import { atEnd } from "../../support/at-end.ts";
import {
  documentedUser,
  openStore,
  settle,
  startRedis,
  type TestRedis,
} from "../../support/redis.ts";
import { createStepClock, type StepClock } from "../../support/step-clock.ts";
import { until } from "../../support/until.ts";

const AWAY = { code: "EDGE_STORE_AWAY" };
const member = worker("worker-1");

let redis: TestRedis;
let clock: StepClock;
let store: Store;
/** The names of the commands that the store has sent, on either connection. */
let sent: string[];

beforeEach(async () => {
  const acl = ["user default on nopass ~* &* +@all", documentedUser("pass")];
  redis = await startRedis({ acl, lines: ["maxmemory-policy noeviction"] });
  await settle(redis.admin());
  clock = createStepClock();
  ({ store } = openStore(redis.urlFor("ct", "pass"), { clock }));
  const admin = redis.admin();
  await until("the subscription", async () => {
    const [, listeners] = await admin.pubsub("NUMSUB", "{ct}:changes");
    return listeners === 1;
  });
  await announce(member);
  await store.renew(member);
  sent = [];
  const monitor = await redis.admin().monitor();
  atEnd(() => monitor.disconnect());
  monitor.on("monitor", (_time: string, args: string[], source: string) => {
    if (source !== "lua") sent.push(String(args[0]).toLowerCase());
  });
});

/**
 * The commands since the last call, when the monitor has seen all of them. Without the EVAL that follows when Redis does not know
 * a script yet.
 */
async function commands(): Promise<string[]> {
  const before = sent.length;
  await store.timeMs();
  await until("the monitor has seen it", () => sent.length > before && sent.at(-1) === "time");
  const seen = sent.splice(0).slice(0, -1);
  return seen.filter((command) => command !== "eval");
}

describe("a heartbeat", () => {
  it("a heartbeat is one command, whatever was deferred since the last one", async () => {
    const { deferred } = store;
    const asked = [
      deferred.members(),
      deferred.lead("reaper", member.id, 5000),
      deferred.ticketsOf("command", member.id),
      deferred.put({ kind: "view", key: member.id, text: "text", ttlMs: 15_000 }),
      deferred.list("usage"),
      deferred.timeMs(),
    ];
    expect(await commands()).toEqual([]);
    expect(await store.renew(member)).toBe("renewed");
    await Promise.all(asked);
    expect(await commands()).toEqual(["evalsha"]);
  });

  it("a heartbeat does not hold up what somebody waits for", async () => {
    const deferred = store.deferred.members();
    expect((await store.members()).members).toEqual([member]);
    expect(await commands()).toEqual(["evalsha"]);
    await store.renew(member);
    await deferred;
  });

  it("deferred operations do not wait for a heartbeat when none has come for a second and a half", async () => {
    const early = store.deferred.members();
    clock.advance(1500);
    expect((await early).members).toEqual([member]);
    expect((await store.deferred.members()).members).toEqual([member]);
    expect(await commands()).toEqual(["evalsha", "evalsha"]);
  });

  it("a heartbeat has room for a hundred operations; more are sent at once", async () => {
    const asked = Array.from({ length: 100 }, () => store.deferred.owners());
    expect(await store.deferred.owners()).toEqual([]);
    expect(await commands()).toEqual(["evalsha"]);
    await store.renew(member);
    await Promise.all(asked);
    expect(await commands()).toEqual(["evalsha"]);
  });
});

describe("a heartbeat of which a part fails", () => {
  it("a heartbeat of which a part fails renews the lease, and does the rest", async () => {
    await redis.admin().call("ACL", "SETUSER", "ct", "-xadd");
    const refused = store.deferred.appendToStream("history-hour", ["text"]);
    const read = store.deferred.members();
    expect(await store.renew(member)).toBe("renewed");
    await expect(refused).rejects.toMatchObject({ code: "EDGE_STORE_REFUSED" });
    expect((await read).members).toEqual([member]);
    expect(store.health.state).toBe("up");
  });

  it("a heartbeat of which a part fails tells a replaced incarnation so, and does the rest", async () => {
    const read = store.deferred.members();
    const young = worker("worker-1");
    const { store: other } = openStore(redis.url);
    atEnd(() => other.close());
    await other.announce(young);
    expect(await store.renew(member)).toBe("replaced");
    expect((await read).members).toEqual([young]);
  });

  it("a heartbeat renews the lease when the memory is full, and writes nothing else", async () => {
    await store.putSignIn({ id: "s", revision: 1, keys: [], data: 1, ttlMs: 60_000, dueInMs: 0 });
    await redis.admin().config("SET", "maxmemory", "1");
    const { deferred } = store;
    const refused = [
      deferred.put({ kind: "view", key: member.id, text: "text", ttlMs: 15_000 }),
      deferred.appendToStream("history-hour", ["text"]),
      // What it claims could not be written after the check.
      deferred.claimDueSignIns(8, 1000),
    ];
    const lead = deferred.lead("reaper", member.id, 5000);
    const read = deferred.members();
    const isRefused = Promise.all(
      refused.map((one) => expect(one).rejects.toMatchObject({ name: "StoreFullError" })),
    );
    expect(await store.renew(member)).toBe("renewed");
    await isRefused;
    expect(await lead).toBe("leading");
    expect((await read).members).toEqual([member]);
  });
});

describe("a heartbeat to a Redis that fails", () => {
  it("a heartbeat runs on a Redis that has lost the script", async () => {
    await redis.admin().script("FLUSH");
    const read = store.deferred.members();
    expect(await store.renew(member)).toBe("renewed");
    expect((await read).members).toEqual([member]);
  });

  it("a heartbeat rejects what is deferred as soon as the store is away", async () => {
    const waiting = [store.deferred.members(), store.deferred.owners()];
    const areRejected = Promise.all(waiting.map((one) => expect(one).rejects.toMatchObject(AWAY)));
    await redis.kill();
    await areRejected;
    await expect(store.deferred.members()).rejects.toMatchObject(AWAY);
  });

  it("a heartbeat takes nothing along while another has no response, and all are rejected in the end", async () => {
    redis.pause();
    const early = store.deferred.members();
    const renewals = [store.renew(member)];
    const late = store.deferred.owners();
    renewals.push(store.renew(member));
    const rejected = [early, late, ...renewals].map((one) =>
      expect(one).rejects.toMatchObject(AWAY),
    );
    await Promise.all(rejected);
    redis.resume();
    await until("the monitor has seen both", () => sent.length === 2);
  });

  it("a heartbeat rejects what is deferred when the store is closed", async () => {
    const waiting = expect(store.deferred.members()).rejects.toMatchObject(AWAY);
    await store.close();
    await waiting;
  });
});

describe("the connection for changes", () => {
  const CHECK_MS = 15_000;

  it("the connection for changes needs no PING while it has received every change", async () => {
    await beat();
    clock.advance(CHECK_MS);
    await announce(worker("worker-2"));
    await store.renew(member);
    await beat();
    clock.advance(CHECK_MS);
    expect(await commands()).not.toContain("ping");
  });

  it("the connection for changes is checked when it has missed a change, and when there are no heartbeats", async () => {
    await redis.admin().incr("{ct}:version");
    await beat();
    clock.advance(CHECK_MS);
    await until("a PING", () => sent.includes("ping"));
    sent = [];
    clock.advance(CHECK_MS);
    await until("another PING", () => sent.includes("ping"));
  });

  async function beat(): Promise<void> {
    const read = store.deferred.owners();
    await store.renew(member);
    await read;
  }
});

/** Resolves when the change was received too. */
async function announce(one: typeof member): Promise<void> {
  const received = new Promise<void>((resolve) => {
    const stop = store.onChange(() => {
      stop();
      resolve();
    });
  });
  await store.announce(one);
  await received;
}
