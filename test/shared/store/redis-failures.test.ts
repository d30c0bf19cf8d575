/** The Redis store when Redis fails: what callers get, what operators read, and how soon it is over. */
import { createServer } from "node:net";
import { describe, expect, it, vi } from "vitest";
import {
  newIncarnation,
  newSessionId,
  type SessionId,
  type WorkerId,
} from "../../../shared/base/ids.ts";
import { MEMBER_LEASE_MS, type Store, type StoreHealth } from "../../../shared/store/store.ts";
import { peer, worker } from "../../contract/store.ts";
import { makeCertificate } from "../../support/certificates.ts";
import { watchMachine } from "../../support/machine.ts";
import { freePort } from "../../support/ports.ts";
import {
  documentedUser,
  documentedUsers,
  openStore,
  type RedisOptions,
  settle,
  startRedis,
  type TestRedis,
  type TestStore,
} from "../../support/redis.ts";
import { listen } from "../../support/servers.ts";
import { watchConnects } from "../../support/sockets.ts";
import { until } from "../../support/until.ts";

const machine = watchMachine();

const AWAY = { code: "EDGE_STORE_AWAY" };
const PASSWORD = "correct-horse";

/** A store that is up on a new server. */
async function startUp(options?: RedisOptions): Promise<TestStore & { redis: TestRedis }> {
  const redis = await startRedis(options);
  const opened = openStore(redis.url);
  await opened.store.timeMs();
  return { redis, ...opened };
}

/** How long until it is so, in ms. */
async function timeUntil(isSo: () => boolean, timeoutMs = 10_000): Promise<number> {
  const startMs = performance.now();
  await vi.waitFor(() => expect(isSo()).toBe(true), { timeout: timeoutMs, interval: 5 });
  return performance.now() - startMs;
}

async function isUpWithin(promisedMs: number, store: Store): Promise<void> {
  const sinceMs = performance.now();
  const tookMs = await timeUntil(() => store.health.state === "up");
  expect(tookMs).toBeLessThan(machine.limitMs(sinceMs, { promisedMs }));
}

function linesWith(lines: readonly string[], part: string): string[] {
  return lines.filter((line) => line.includes(part));
}

function newSession(owner: { id: WorkerId; incarnation: ReturnType<typeof newIncarnation> }) {
  return {
    sessionId: newSessionId(),
    owner: owner.id,
    incarnation: owner.incarnation,
    userId: "user",
    maxPerUser: 1000,
  };
}

describe("a Redis that exits or hangs", () => {
  it("a Redis that is killed is away at once, and up within a second of its return", async () => {
    const { redis, store, lines } = await startUp();
    const heard: StoreHealth["state"][] = [];
    store.onHealth(({ state }) => heard.push(state));
    await redis.kill();
    const killedMs = performance.now();
    expect(await timeUntil(() => store.health.state === "away")).toBeLessThan(
      machine.limitMs(killedMs, { promisedMs: 500 }),
    );
    const startMs = performance.now();
    await expect(store.members()).rejects.toMatchObject(AWAY);
    machine.expectWithin(startMs, { promisedMs: 100 });
    const tries = watchConnects();
    await until("it has tried again", () => tries.count >= 1);

    await redis.start();
    await isUpWithin(1000, store);
    expect(heard).toEqual(["away", "up"]);
    expect(await store.renew(worker("worker-1"))).toBe("expired");
    await store.announce(worker("worker-1"));
    expect(linesWith(lines, "store unavailable")).toHaveLength(1);
    expect(linesWith(lines, "store available again")).toHaveLength(1);
    expect(lines).toHaveLength(3);
  });

  it("the store is notified of changes again after a restart of Redis", async () => {
    const { redis, store } = await startUp();
    const heard: string[] = [];
    store.onChange(({ subject }) => heard.push(subject));
    await redis.kill();
    await redis.start();
    await timeUntil(() => store.health.state === "up");
    // The reader is told to read again, because changes may have been missed.
    await expect.poll(() => heard).toContain("members");
    heard.length = 0;
    await expect
      .poll(async () => {
        await store.createSession(newSession(worker("worker-1")));
        return heard;
      })
      .toContain("session");
  });

  it("a Redis that is stopped has its pending operations rejected, and recovers when it is continued", async () => {
    const { redis, store, lines } = await startUp();
    await store.announce(worker("worker-1"));
    redis.pause();
    const startMs = performance.now();
    await expect(store.members()).rejects.toMatchObject(AWAY);
    const waitedMs = performance.now() - startMs;
    expect(waitedMs).toBeGreaterThan(1500);
    expect(waitedMs).toBeLessThan(machine.limitMs(startMs, { promisedMs: 2600, waitsMs: 2000 }));
    expect(store.health).toMatchObject({ state: "away" });
    await expect(store.members()).rejects.toMatchObject(AWAY);
    const tries = watchConnects();
    await until("it has tried again", () => tries.count > 0);
    redis.resume();
    await isUpWithin(1000, store);
    expect((await store.members()).members).toHaveLength(1);
    expect(linesWith(lines, "no response in time")).toHaveLength(1);
    expect(linesWith(lines, "store unavailable")).toHaveLength(1);
  });

  it("a Redis may be absent at the start", async () => {
    const redis = await startRedis();
    await redis.kill();
    const { store, lines } = openStore(redis.url);
    await expect(store.timeMs()).rejects.toMatchObject(AWAY);
    await expect(store.timeMs()).rejects.toMatchObject(AWAY);
    await redis.start();
    await isUpWithin(1000, store);
    expect(linesWith(lines, "store unavailable")).toHaveLength(1);
  });

  it("a Redis that hangs has a limited number of pending operations", async () => {
    const { redis, store } = await startUp();
    redis.pause();
    const asked = Array.from({ length: 10_001 }, () => store.get("revoked", "t"));
    const last = asked.pop();
    await expect(last).rejects.toMatchObject(AWAY);
    redis.resume();
    expect(await Promise.all(asked)).not.toContain("");
  });

  it("a Redis that hangs does not delay close", async () => {
    const { redis, store } = await startUp();
    redis.pause();
    const waiting = store.members();
    waiting.catch(() => {});
    const startMs = performance.now();
    await store.close();
    machine.expectWithin(startMs, { promisedMs: 1000, waitsMs: 500 });
    await expect(waiting).rejects.toMatchObject(AWAY);
    redis.resume();
  });

  it("the store runs its scripts on a Redis that has lost them", async () => {
    const { redis, store } = await startUp();
    await store.announce(worker("worker-1"));
    await redis.admin().script("FLUSH");
    expect((await store.members()).members).toHaveLength(1);
    await redis.admin().script("FLUSH");
    const outcomes = await Promise.all(
      Array.from({ length: 50 }, () => store.createSession(newSession(worker("worker-1")))),
    );
    expect(new Set(outcomes.map(({ outcome }) => outcome))).toEqual(new Set(["created"]));
    expect(await store.sessionsOf("worker-1" as WorkerId)).toHaveLength(50);
  });
});

describe("a Redis that was flushed", () => {
  it("a Redis that was flushed counts no member as gone while it settles, and epochs keep rising", async () => {
    const { redis, store } = await startUp();
    const admin = redis.admin();
    await settle(admin);
    const owner = worker("worker-1");
    await store.announce(owner);
    expect(await store.members()).toMatchObject({ booted: true });
    const before = await store.createSession(newSession(owner));
    await admin.flushall();

    expect(await store.members()).toEqual({ members: [], ignored: 0, booted: false });
    expect(await store.renew(owner)).toBe("expired");
    const thenMs = await store.timeMs();
    await vi.waitFor(async () => expect(await store.timeMs()).toBeGreaterThan(thenMs));
    const again = await store.createSession(newSession(owner));
    if (before.outcome !== "created" || again.outcome !== "created") throw new Error("not created");
    expect(again.record.epoch).toBeGreaterThan(before.record.epoch);
    // Its owner may not have had the time to announce itself.
    const claim = {
      sessionId: again.record.id,
      worker: "worker-2" as WorkerId,
      incarnation: newIncarnation(),
    };
    expect(await store.resumeSession(claim)).toMatchObject({ outcome: "elsewhere" });
    await settle(admin);
    expect(await store.resumeSession(claim)).toMatchObject({ cause: "lease-gone" });
    expect(await store.members()).toMatchObject({ booted: true });
  });
});

describe("rights", () => {
  it("the store logs a wrong password of Redis once without showing it, and comes up when it is right", async () => {
    const redis = await startRedis({
      acl: ["user default on nopass ~* &* +@all", documentedUser("new")],
    });
    const { store, lines } = openStore(redis.urlFor("ct", PASSWORD));
    const failure: unknown = await store.timeMs().catch((error: unknown) => error);
    expect(failure).toMatchObject(AWAY);
    await expect(store.timeMs()).rejects.toMatchObject(AWAY);
    await redis.admin().call("ACL", "SETUSER", "ct", `>${PASSWORD}`);
    await timeUntil(() => store.health.state === "up");
    expect(linesWith(lines, "store unavailable")).toHaveLength(1);
    expect(linesWith(lines, "refuses the user or the password")).toHaveLength(1);
    expect(lines.join("")).not.toContain(PASSWORD);
    expect(JSON.stringify([failure, (failure as Error).cause, String(failure)])).not.toContain(
      PASSWORD,
    );
    expect(
      (await redis.admin().info("commandstats")).match(/cmdstat_hello:calls=(\d+)/)?.[1],
    ).toMatch(/^\d$/);
  });

  it("the store uses the password of Redis's default user", async () => {
    const { store } = await startUp({ password: "p@ss:w%rd/?#" });
    expect(store.health).toEqual({ state: "up" });
  });

  it("the store works as each user of the documentation", async () => {
    for (const user of documentedUsers(PASSWORD)) {
      const redis = await startRedis({ acl: ["user default on nopass ~* &* +@all", user] });
      const { store, lines } = openStore(redis.urlFor("ct", PASSWORD));
      await store.announce(worker("worker-1"));
      expect((await store.members()).members).toHaveLength(1);
      expect(store.health).toEqual({ state: "up" });
      expect(linesWith(lines, "may not")).toEqual([]);
    }
    expect(documentedUsers(PASSWORD)).toHaveLength(2);
  });

  it("the store names the ACL rule that grants a missing permission", async () => {
    const redis = await startRedis({
      acl: [
        "user default on nopass ~* &* +@all",
        "user ct on >pass ~{ct}:* &{ct}:* +@all -publish",
      ],
    });
    const { store, lines } = openStore(redis.urlFor("ct", "pass"));
    await expect(store.announce(worker("worker-1"))).rejects.toMatchObject({
      code: "EDGE_STORE_REFUSED",
    });
    const rule = "ACL SETUSER ct ~{ct}:* &{ct}:* +@all -@admin -@dangerous";
    expect(linesWith(lines, rule)).toHaveLength(1);
    await redis.admin().call(...(rule.split(" ") as [string, ...string[]]));
    await store.announce(worker("worker-1"));
  });

  it("the store logs which permission the user of Redis lacks", async () => {
    const redis = await startRedis({
      acl: ["user default on nopass ~* &* +@all", "user ct on >pass ~other:* &* +@all"],
    });
    const { store, lines } = openStore(redis.urlFor("ct", "pass"));
    await expect(store.timeMs()).rejects.toMatchObject(AWAY);
    expect(linesWith(lines, "lacks a permission")).toHaveLength(1);
    // It keeps retrying and keeps reporting the reason.
    const connections = async () =>
      Number(/total_connections_received:(\d+)/.exec(await redis.admin().info("stats"))?.[1]);
    const before = await connections();
    await expect.poll(connections, { timeout: 8000 }).toBeGreaterThan(before + 3);
    expect(store.health).toMatchObject({
      reason: expect.stringContaining("lacks a permission"),
    });
  });

  it("the store continues without hints when the user of Redis may not subscribe", async () => {
    const redis = await startRedis({
      acl: [
        "user default on nopass ~* &* +@all",
        "user ct on >pass ~* resetchannels &{ct}:x +@all",
      ],
    });
    const { store, lines } = openStore(redis.urlFor("ct", "pass"));
    await store.timeMs();
    await expect
      .poll(() => linesWith(lines, "no change notifications, polling once a second instead"))
      .toHaveLength(1);
    expect(store.health).toEqual({ state: "up" });
  });
});

describe("TLS", () => {
  const makeAuthority = () => makeCertificate({ isAuthority: true });

  it("the store verifies the authority and the name of Redis's certificate", async () => {
    const [own, foreign] = await Promise.all([makeAuthority(), makeAuthority()]);
    const redis = await startRedis({ tls: own });
    const url = `rediss://localhost:${redis.tlsPort}`;

    const trusted = openStore(url, { ca: own.cert });
    await trusted.store.announce(worker("worker-1"));
    expect(trusted.store.health).toEqual({ state: "up" });

    for (const ca of [undefined, foreign.cert]) {
      const { store, lines } = openStore(url, ca === undefined ? {} : { ca });
      await expect(store.timeMs()).rejects.toMatchObject(AWAY);
      expect(linesWith(lines, "certificate is not trusted; set CT_REDIS_CA")).toHaveLength(1);
    }
    const misnamed = openStore(`rediss://127.0.0.1:${redis.tlsPort}`, { ca: own.cert });
    await expect(misnamed.store.timeMs()).rejects.toMatchObject(AWAY);
    expect(linesWith(misnamed.lines, "certificate is for another host name")).toHaveLength(1);
  });

  it("the store survives a socket with two errors: our rejected certificate, and the peer's alert", async () => {
    const own = await makeAuthority();
    const redis = await startRedis({ tls: own });
    const url = `rediss://localhost:${redis.tlsPort}`;
    // Whether the second failure arrives is a matter of luck; among so many it does.
    for (let i = 0; i < 100; i++) {
      const { store } = openStore(url, { ca: (await makeAuthority()).cert });
      await expect(store.timeMs()).rejects.toMatchObject(AWAY);
    }
  });

  it("the store logs that only one end uses TLS", async () => {
    const redis = await startRedis({ port: true, tls: await makeAuthority() });
    for (const [url, cure] of [
      [`rediss://127.0.0.1:${redis.port}`, "write redis:// in CT_REDIS_URL"],
      [`redis://127.0.0.1:${redis.tlsPort}`, "write rediss:// in CT_REDIS_URL"],
    ] as const) {
      const { store, lines } = openStore(url);
      await expect(store.timeMs()).rejects.toMatchObject(AWAY);
      await expect.poll(() => linesWith(lines, "store unavailable")).toHaveLength(1);
      expect(lines.join("")).toContain(cure);
    }
  });
});

describe("a Redis that refuses writes", () => {
  it("a Redis whose memory is full accepts no new records, but leases and take-overs continue", async () => {
    const { redis, store, lines, counters } = await startUp({
      lines: ["maxmemory-policy noeviction"],
    });
    const admin = redis.admin();
    await settle(admin);
    const [one, two] = [worker("worker-1"), worker("worker-2")];
    await store.announce(one);
    await store.announce(two);
    const created = await store.createSession(newSession(one));
    if (created.outcome !== "created") throw new Error("not created");
    const { id, owner, epoch } = created.record;
    const holder = { sessionId: id, owner, epoch };
    await store.changeSession(holder, { kind: "open" });
    await store.changeSession(holder, { kind: "put-peer", peer: peer() });
    await admin.config("SET", "maxmemory", "1");

    const refused: Record<string, Promise<unknown>> = {
      create: store.createSession(newSession(one)),
      peer: store.changeSession(holder, { kind: "put-peer", peer: peer() }),
      ticket: store.putTicket({ kind: "login", token: "t", question: 1, ttlMs: 1000 }),
      counter: store.addToCounters({ joins: 1 }),
    };
    for (const refusal of Object.values(refused)) {
      await expect(refusal).rejects.toMatchObject({ ...AWAY, name: "StoreFullError" });
    }
    expect(store.health).toEqual({ state: "up" });
    expect(counters.value("store.refusals", "full")).toBe(Object.keys(refused).length);
    expect(await store.renew(one)).toBe("renewed");
    await store.announce({ ...two, incarnation: newIncarnation() });
    const resumed = await store.resumeSession({
      sessionId: id,
      worker: two.id,
      incarnation:
        (await store.members()).members.find((member) => member.id === two.id)?.incarnation ??
        two.incarnation,
      evidence: "exited",
    });
    expect(resumed).toMatchObject({ outcome: "owned", cause: "exited" });
    if (resumed.outcome !== "owned") return;
    const taken = { ...holder, owner: two.id, epoch: resumed.record.epoch };
    expect(await store.changeSession(taken, { kind: "release", to: one.id })).toBe("done");
    expect(
      await store.changeSession(taken, { kind: "close", untilMs: (await store.timeMs()) + 60_000 }),
    ).toBe("done");
    expect(linesWith(lines, "the store is full")).toHaveLength(1);

    await admin.config("SET", "maxmemory", "0");
    expect(await store.createSession(newSession(one))).toMatchObject({ outcome: "created" });
    expect(linesWith(lines, "the store accepts new records again")).toHaveLength(1);
    expect(lines).toHaveLength(3);
  });

  it("the store warns of a Redis with a policy that evicts records", async () => {
    const { lines } = await startUp({ lines: ["maxmemory-policy allkeys-lru"] });
    expect(linesWith(lines, "set maxmemory-policy noeviction")).toHaveLength(1);
  });

  it("the store waits on a replica until it is the primary", async () => {
    const primary = await startRedis({ port: true });
    const redis = await startRedis({ lines: [`replicaof 127.0.0.1 ${primary.port}`] });
    const { store, lines } = openStore(redis.url);
    await expect(store.timeMs()).rejects.toMatchObject(AWAY);
    expect(linesWith(lines, "read-only replica")).toHaveLength(1);
    await redis.admin().replicaof("NO", "ONE");
    await isUpWithin(1000, store);
    expect(linesWith(lines, "store unavailable")).toHaveLength(1);
  });

  it("a Redis that becomes a replica is away", async () => {
    const { redis, store, lines } = await startUp();
    await redis.admin().replicaof("127.0.0.1", await freePort());
    await expect(store.announce(worker("worker-1"))).rejects.toMatchObject(AWAY);
    expect(store.health.state).toBe("away");
    await redis.admin().replicaof("NO", "ONE");
    await timeUntil(() => store.health.state === "up");
    expect(linesWith(lines, "read-only replica")).toHaveLength(1);
  });

  it("a Redis that refuses writes because it cannot save is away", async () => {
    const { redis, store, lines } = await startUp({ lines: ["min-replicas-to-write 0"] });
    await redis.admin().config("SET", "min-replicas-to-write", "1");
    await expect(store.announce(worker("worker-1"))).rejects.toMatchObject(AWAY);
    await redis.admin().config("SET", "min-replicas-to-write", "0");
    await isUpWithin(1500, store);
    expect(linesWith(lines, "cannot save or replicate")).toHaveLength(1);
  });
});

describe("an unsupported server", () => {
  /** A server that answers each command by its name; `undefined`: with nothing. */
  function startPeer(answer: (command: string) => string | undefined): Promise<number> {
    const server = createServer((socket) => {
      socket.on("error", () => {});
      socket.on("data", (data) => {
        for (const [, name = ""] of data.toString().matchAll(/\*\d+\r\n\$\d+\r\n(\w+)/g)) {
          socket.write(answer(name.toLowerCase()) ?? "");
        }
      });
    });
    return listen(server);
  }

  it("the store logs that a Redis is too old, without a password that it repeats", async () => {
    const info = "redis_version:5.0.14\r\n";
    const port = await startPeer((command) => {
      if (command === "info") return `$${info.length}\r\n${info}\r\n`;
      if (command !== "hello") return "+OK\r\n";
      return `-ERR unknown command \`HELLO\`, with args beginning with: \`3\`, \`AUTH\`, \`ct\`, \`${PASSWORD}\`, \r\n`;
    });
    const { store, lines } = openStore(`redis://ct:${PASSWORD}@127.0.0.1:${port}`);
    await expect(store.timeMs()).rejects.toMatchObject(AWAY);
    expect(linesWith(lines, "Redis 5.0.14 is too old; 6.2 or newer is needed")).toHaveLength(1);
    expect(lines.join("")).not.toContain(PASSWORD);
  });

  it("the store works on a Redis whose INFO was renamed", async () => {
    const { store } = await startUp({ lines: ['rename-command INFO ""'] });
    expect(store.health).toEqual({ state: "up" });
  });

  it.each([
    ["a refusal in other words", "-ERR INFO is disabled for this plan, ASK your administrator\r\n"],
    ["a number", ":7\r\n"],
    ["no text", "$-1\r\n"],
    ["text that says nothing", "+nothing\r\n"],
  ])("a server is used without its version when INFO is answered by %s", async (_what, reply) => {
    const port = await startPeer((command) => {
      if (command === "info") return reply;
      if (command === "hello") return "-ERR unknown command `HELLO`\r\n";
      return command.startsWith("eval") ? "$2\r\nok\r\n" : "+OK\r\n";
    });
    const { store } = openStore(`redis://127.0.0.1:${port}`);
    await timeUntil(() => store.health.state === "up");
  });

  it("the store logs how to let scripts use their keys on Dragonfly", async () => {
    const port = await startPeer((command) => {
      if (command === "hello") return "-ERR unknown command `HELLO`\r\n";
      if (command === "evalsha") return "-NOSCRIPT No matching script. Please use EVAL.\r\n";
      if (command !== "eval") return "+OK\r\n";
      return "-ERR Error running script (call to 5c4d62f4): @user_script:2: script tried accessing undeclared key, key: {ct}:boot\r\n";
    });
    const { store, lines } = openStore(`redis://127.0.0.1:${port}`);
    await expect(store.timeMs()).rejects.toMatchObject(AWAY);
    expect(linesWith(lines, "--default_lua_flags=allow-undeclared-keys")).toHaveLength(1);
  });

  it.each([
    ["another protocol", "HTTP/1.1 400 Bad Request\r\n\r\n"],
    ["refusals", "-ERR max number of clients reached\r\n"],
    ["numbers", ":1\r\n"],
    ["too many answers", "+OK\r\n+OK\r\n+OK\r\n"],
    ["bytes", "\u0000\u0001$5\r\n*3\r\n"],
    ["a huge array", "*2147483647\r\n"],
  ])("the store stays away from a server that answers %s", async (_what, answer) => {
    const port = await startPeer(() => answer);
    const { store, lines } = openStore(`redis://127.0.0.1:${port}`);
    await expect(store.timeMs()).rejects.toMatchObject(AWAY);
    await expect(store.members()).rejects.toMatchObject(AWAY);
    const tries = watchConnects();
    await until("it has tried again", () => tries.count >= 1);
    expect(store.health.state).toBe("away");
    expect(linesWith(lines, "store unavailable").length).toBeLessThanOrEqual(3);
  });
});

describe("many clients at once", () => {
  it("Redis never has two owners of a session under one epoch, with many clients at once", async () => {
    const { redis, store } = await startUp();
    await settle(redis.admin());
    const clients = [store, ...[1, 2, 3].map(() => openStore(redis.url).store)];
    const ids = Array.from({ length: 20 }, () => newSessionId());
    const ownersByEpoch = new Map<string, Set<string>>();
    let owned = 0;

    await Promise.all(
      clients.map(async (client, i) => {
        const me = worker(`worker-${i}`);
        await client.announce(me);
        for (let turn = 0; turn < 200; turn++) {
          const sessionId = ids[(turn * 7 + i) % ids.length] as SessionId;
          if (turn % 10 === i) await client.createSession({ ...newSession(me), sessionId });
          const resumed = await client.resumeSession({
            sessionId,
            worker: me.id,
            incarnation: me.incarnation,
            evidence: "exited",
          });
          if (resumed.outcome !== "owned") continue;
          owned++;
          const at = `${sessionId} ${resumed.record.epoch}`;
          const owners = ownersByEpoch.get(at) ?? new Set();
          ownersByEpoch.set(at, owners.add(me.id));
        }
      }),
    );
    expect(owned).toBeGreaterThan(100);
    for (const owners of ownersByEpoch.values()) expect(owners.size).toBe(1);
  });
});

describe("a lease", () => {
  it("a lease in Redis expires by Redis's own time", async () => {
    const { store } = await startUp();
    await store.announce(worker("worker-1"));
    expect((await store.members()).members).toHaveLength(1);
    await expect
      .poll(async () => (await store.members()).members, { timeout: MEMBER_LEASE_MS + 2000 })
      .toEqual([]);
  });
});
