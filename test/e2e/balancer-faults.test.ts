/**
 * What clients notice when a balancer dies, starts without its store, or continues with its last view: with real processes,
 * a real Redis and unmodified clients.
 */
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fetch } from "undici";
import { expect, onTestFinished, test } from "vitest";
import type { Client } from "../support/clients.ts";
import {
  type Cluster,
  countersOf,
  type Member,
  seenBy,
  sees,
  sessionsOf,
  startCluster,
  workersSeenBy,
} from "../support/cluster.ts";
import { startFront } from "../support/front.ts";
import { HAS_LINKS } from "../support/link-mode.ts";
import {
  allOnWebSockets,
  documentsEqual,
  everybodyHears,
  type OpenSession,
  openSession,
  person,
} from "../support/people.ts";
import { freePort } from "../support/ports.ts";
import { startTraffic } from "../support/steady-traffic.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";

/** Must be unchanged by a fault that costs connections only. */
function identities(session: OpenSession) {
  return session.everybody.map((client) => ({
    name: client.name,
    infos: client.infos.map(({ id }) => id),
    inits: client.inits.length,
    joined: client.joined.map(({ name }) => name),
    left: client.left.map(({ name }) => name),
    closed: client.closedCount,
  }));
}

async function hostOf(cluster: Cluster, sessionId: string): Promise<string | undefined> {
  for (const worker of cluster.workers) {
    if ((await sessionsOf(worker)).includes(sessionId)) return worker.id;
  }
  return undefined;
}

/**
 * Back in their sessions. The package reports a reconnect as soon as a worker accepts the connection, even if it still
 * waits.
 */
async function allAreBack(clients: readonly Client[]): Promise<void> {
  await until(
    "everybody is served again",
    () => clients.every((client) => client.isServed && client.servedMs.length > 1),
    30_000,
  );
}

/** Another worker serves them, over the same connections if they are WebSockets over links. */
async function areServed(sessions: readonly OpenSession[]): Promise<void> {
  const everybody = sessions.flatMap((session) => session.everybody);
  const before = everybody.map(({ reconnectCount }) => reconnectCount);
  for (const { host, guests } of sessions) await everybodyHears(host, guests, "are you there?");
  if (HAS_LINKS) expect(everybody.map(({ reconnectCount }) => reconnectCount)).toEqual(before);
}

/** Resolves with the file's name when a balancer has written one. */
function snapshotIn(dataDir: string): Promise<string> {
  return until("a snapshot is there", () =>
    readdirSync(dataDir).find((name) => name.endsWith(".snapshot")),
  );
}

async function readiness(balancer: Member): Promise<{ status: number; body: { status: string } }> {
  const answer = await fetch(`http://127.0.0.1:${balancer.statusPort}/health/ready`);
  return { status: answer.status, body: (await answer.json()) as { status: string } };
}

test("when one of two balancers is killed its clients return through the other, and no message arrives twice", async () => {
  const cluster = await startCluster({ workers: 3, balancers: 2 });
  const [first, second] = cluster.balancers as [Member, Member];
  const front = await startFront(first.port);
  const session = await openSession({ baseUrl: front.url, guestCount: 2 });
  const before = identities(session);
  const worker = await hostOf(cluster, session.sessionId);

  const speaking = speakAll(session.everybody);
  await until("much was said", () => session.host.said.length > 20);
  front.leadTo(second.port);
  await first.kill();
  await allAreBack(session.everybody);
  await speaking.stop();
  session.host.write("meanwhile");

  await documentsEqual(session.everybody, ["meanwhile"]);
  for (const client of session.everybody) {
    const others = session.everybody.filter((other) => other !== client);
    await everybodyHears(client, others, `${client.name} is back`);
  }
  expect(identities(session)).toEqual(before);
  expect(await hostOf(cluster, session.sessionId)).toBe(worker);
  for (const client of session.everybody) {
    const heard = client.said.map(({ from, text }) => `${from} ${text}`);
    expect(heard.length).toBeGreaterThan(20);
    expect(new Set(heard).size).toBe(heard.length);
  }
}, 90_000);

/** Each client keeps sending new messages. */
function speakAll(clients: readonly Client[]): { stop(): Promise<void> } {
  let isStopped = false;
  const speaking = clients.map(async (client) => {
    for (let i = 0; !isStopped; i++) {
      // While disconnected, the client buffers its messages.
      await client.say(`${client.name} ${i}`).catch(() => {});
      await delay(20);
    }
  });
  return {
    async stop() {
      isStopped = true;
      await Promise.all(speaking);
    },
  };
}

test("a balancer that restarts while the store is unreachable routes by its snapshot", async () => {
  const dataDir = tempFolder();
  const env = { CT_DATA_DIR: dataDir, CT_PORT: String(await freePort()) };
  const cluster = await startCluster({ workers: 2, balancers: 0 });
  const balancer = await cluster.addBalancer({ env });
  const session = await openSession({ baseUrl: balancer.url, guestCount: 1 });
  await snapshotIn(dataDir);
  const before = identities(session);

  await cluster.redis.kill();
  await balancer.kill();
  const again = await cluster.addBalancer({ env });
  expect(await readiness(again)).toMatchObject({
    status: 200,
    body: {
      status: "degraded",
      reasons: [expect.stringContaining("store"), "the workers are those of the last snapshot"],
    },
  });
  await allAreBack(session.everybody);
  await everybodyHears(session.host, session.guests, "without a store");
  expect(identities(session)).toEqual(before);

  await cluster.redis.start();
  await storeIsBack([again]);
  await everybodyHears(session.host, session.guests, "with a store");
  expect(identities(session)).toEqual(before);
}, 90_000);

test("a balancer with a damaged snapshot starts without it, logs that once, and works when the store is back", async () => {
  const dataDir = tempFolder();
  const cluster = await startCluster({ workers: 1, balancers: 0 });
  const env = { CT_DATA_DIR: dataDir };
  const balancer = await cluster.addBalancer({ env });
  const name = await snapshotIn(dataDir);
  await balancer.kill();
  writeFileSync(join(dataDir, name), '{"format":1}\n{"half');
  await cluster.redis.kill();

  const again = await cluster.addBalancer({ env });
  const ask = () => fetch(`${again.url}/api/meta`);
  const answer = await ask();
  expect(answer.status).toBe(503);
  expect(await answer.json()).toMatchObject({ code: "EDGE_NO_UPSTREAM" });
  const lines = again.output().split("\n");
  expect(lines.filter((line) => line.includes("snapshot"))).toHaveLength(1);
  expect((await readiness(again)).status).toBe(503);

  await cluster.redis.start();
  await until("it works", async () => (await ask()).status === 200);
}, 90_000);

interface Frozen {
  readonly cluster: Cluster;
  /** Knows three workers, and its store is unreachable. */
  readonly frozen: Member;
  /** A worker on a port chosen before it starts. */
  readonly victim: Member;
  readonly restartVictim: () => Promise<Member>;
  readonly restartElsewhere: () => Promise<Member>;
  readonly sessions: readonly OpenSession[];
  /** Clients of the worker that fails. */
  readonly orphans: readonly OpenSession[];
}

async function frozenEdge(): Promise<Frozen> {
  const cluster = await startCluster({ workers: 2, balancers: 1 });
  const port = String(await freePort());
  const victim = await cluster.addWorker({ env: { CT_WORKER_PORT: port } });
  const store = await startFront(cluster.redis.port);
  const frozen = await cluster.addBalancer({
    env: { CT_REDIS_URL: `redis://127.0.0.1:${store.port}` },
  });
  await sees(frozen, 3);
  const sessions: OpenSession[] = [];
  for (let i = 0; i < 4 || !(await anyAt(victim, sessions)); i++) {
    sessions.push(await openSession({ baseUrl: frozen.url, guestCount: 1 }));
  }
  const orphans = await sessionsAt(victim, sessions);
  await allOnWebSockets(sessions.flatMap(({ everybody }) => everybody));
  store.cut();
  await storeIsAway([frozen]);
  const restartVictim = () =>
    cluster.addWorker({ env: { CT_WORKER_ID: victim.id, CT_WORKER_PORT: port } });
  /** On a port that no balancer knows yet. */
  const restartElsewhere = () => cluster.addWorker({ env: { CT_WORKER_ID: victim.id } });
  return { cluster, frozen, victim, restartVictim, restartElsewhere, sessions, orphans };
}

test("traffic through a balancer with a frozen view continues while a worker dies and returns", async () => {
  const { cluster, frozen, victim, restartVictim, sessions, orphans } = await frozenEdge();
  const [other] = cluster.balancers as [Member];
  const before = sessions.map(identities);
  const traffic = await startTraffic([frozen.url]);

  await victim.kill();
  await areServed(orphans);
  const restarted = await restartVictim();
  await sees(other, 3);
  expect(await workersSeenBy(frozen)).toContain(restarted.id);

  for (const session of sessions) {
    const late = person({ baseUrl: frozen.url, name: "Late" });
    await late.join(session.sessionId);
    await everybodyHears(late, session.everybody, "through a frozen balancer");
  }
  await openSession({ baseUrl: frozen.url, guestCount: 1 });
  expect(await traffic.stop()).toEqual([]);
  expect(sessions.map(identities).map(withoutLate)).toEqual(before);
  const counted = await misdirectedBy(frozen);
  expect(counted).not.toHaveProperty("too-many-hops");

  // It has cached the owner.
  for (const { sessionId } of sessions) {
    const headers = { ctstickiness: sessionId };
    expect((await fetch(`${frozen.url}/api/meta`, { headers })).status).toBe(200);
  }
  expect(await misdirectedBy(frozen)).toEqual(counted);
}, 120_000);

test("a balancer with a frozen view learns of a worker's restart from the worker itself", async () => {
  const { frozen, victim, restartVictim, sessions, orphans } = await frozenEdge();
  const before = sessions.map(identities);
  const traffic = await startTraffic([frozen.url]);

  await victim.kill();
  // Before another worker takes over, so that most of its sessions continue under its name.
  await restartVictim();
  await areServed(orphans);
  await until("it is healthy", async () => (await seenBy(frozen, victim.id))?.status === "healthy");

  for (const { host, guests } of sessions) await everybodyHears(host, guests, "after a restart");
  await openSession({ baseUrl: frozen.url, guestCount: 1 });
  expect(await traffic.stop()).toEqual([]);
  expect(sessions.map(identities)).toEqual(before);
}, 120_000);

test("a balancer with a frozen view finds a worker that returns at another address, and a new worker", async () => {
  const { cluster, frozen, victim, restartElsewhere, sessions, orphans } = await frozenEdge();
  const before = sessions.map(identities);
  const traffic = await startTraffic([frozen.url]);

  await victim.kill();
  const restarted = await restartElsewhere();
  expect(restarted.port).not.toBe(victim.port);
  await areServed(orphans);
  await until("it is found", async () => (await seenBy(frozen, victim.id))?.url === restarted.url);
  await until("it is healthy", async () => (await seenBy(frozen, victim.id))?.status === "healthy");
  const added = await cluster.addWorker();
  await until(
    "the new one is healthy",
    async () => (await seenBy(frozen, added.id))?.status === "healthy",
  );

  for (const { host, guests } of sessions) await everybodyHears(host, guests, "after a restart");
  await openSession({ baseUrl: frozen.url, guestCount: 1 });
  expect(await traffic.stop()).toEqual([]);
  expect(sessions.map(identities)).toEqual(before);
}, 120_000);

test("a balancer that starts without its store finds a worker that has moved since its snapshot", async () => {
  const dataDir = tempFolder();
  const cluster = await startCluster({ workers: 1, balancers: 0 });
  const victim = await cluster.addWorker();
  const store = await startFront(cluster.redis.port);
  const env = { CT_DATA_DIR: dataDir, CT_REDIS_URL: `redis://127.0.0.1:${store.port}` };
  const before = await cluster.addBalancer({ env });
  await sees(before, 2);
  await snapshotIn(dataDir);
  await before.stop();
  store.cut();
  await victim.kill();
  const restarted = await cluster.addWorker({ env: { CT_WORKER_ID: victim.id } });

  const balancer = await cluster.addBalancer({ env });
  await until(
    "it is found",
    async () => (await seenBy(balancer, victim.id))?.url === restarted.url,
  );
  await until(
    "it is healthy",
    async () => (await seenBy(balancer, victim.id))?.status === "healthy",
  );
  await openSession({ baseUrl: balancer.url, guestCount: 1 });
}, 60_000);

async function sessionsAt(worker: Member, all: readonly OpenSession[]): Promise<OpenSession[]> {
  const here = await sessionsOf(worker);
  return all.filter(({ sessionId }) => here.includes(sessionId));
}

async function anyAt(worker: Member, all: readonly OpenSession[]): Promise<boolean> {
  return (await sessionsAt(worker, all)).length > 0;
}

function withoutLate(people: ReturnType<typeof identities>): ReturnType<typeof identities> {
  return people.map((one) => ({ ...one, joined: one.joined.filter((name) => name !== "Late") }));
}

/** 421 responses by their outcome. */
async function misdirectedBy(balancer: Member): Promise<Record<string, number>> {
  const series = Object.entries(await countersOf(balancer)).flatMap(([name, count]) => {
    const outcome = /^balancer\.misdirected\{(.*)\}$/.exec(name)?.[1];
    return outcome === undefined ? [] : [[outcome, count] as const];
  });
  return Object.fromEntries(series);
}

// --- a worker fails ---

test("while a worker is paused, continues and is killed, no request fails and other sessions notice nothing", async () => {
  const cluster = await startCluster({ workers: 3, balancers: 1 });
  const [balancer] = cluster.balancers as [Member];
  const [victim] = cluster.workers as [Member];
  const idle: OpenSession[] = [];
  while (idle.length === 0) {
    const session = await openSession({ baseUrl: balancer.url, guestCount: 1 });
    if (!(await anyAt(victim, [session]))) idle.push(session);
  }
  const traffic = await startTraffic([balancer.url]);

  victim.child.kill("SIGSTOP");
  onTestFinished(() => void victim.child.kill("SIGCONT"));
  // The time is measured in test/balancer/take-over.test.ts.
  await until(
    "it is avoided",
    async () => (await seenBy(balancer, victim.id))?.status === "unhealthy",
  );
  await until("it is gone", async () => (await seenBy(balancer, victim.id))?.status === undefined);
  victim.child.kill("SIGCONT");
  await until("it is back", async () => (await seenBy(balancer, victim.id))?.status === "healthy");

  await victim.kill();
  await until(
    "it is avoided",
    async () => (await seenBy(balancer, victim.id))?.status !== "healthy",
  );
  await until("it is gone", async () => (await seenBy(balancer, victim.id))?.status === undefined);
  for (const { host, guests } of idle) await everybodyHears(host, guests, "still here");
  expect(idle.flatMap(({ everybody }) => everybody.map((one) => one.reconnectCount))).toEqual([
    0, 0,
  ]);
  expect(await traffic.stop()).toEqual([]);
}, 90_000);

// --- the store fails ---

interface Weather {
  readonly cluster: Cluster;
  readonly session: OpenSession;
  /** Asserts that no client noticed anything. */
  readonly expectIdle: () => Promise<void>;
}

/** A busy edge of two balancers and two workers, and what must not change. */
async function busyEdge(): Promise<Weather> {
  const cluster = await startCluster({ workers: 2, balancers: 2 });
  const [first, second] = cluster.balancers as [Member, Member];
  const session = await openSession({ baseUrl: first.url, guestCount: 2 });
  const traffic = await startTraffic([first.url, second.url]);
  const identitiesBefore = identities(session);
  const ringBefore = (await first.view())["ring"];
  const rings = watchRings(cluster.balancers);
  return {
    cluster,
    session,
    async expectIdle() {
      await everybodyHears(session.host, session.guests, "still here");
      expect(await traffic.stop()).toEqual([]);
      expect(await rings.stop()).toEqual([ringBefore]);
      expect(identities(session)).toEqual(identitiesBefore);
      expect(session.everybody.map((client) => client.reconnectCount)).toEqual([0, 0, 0]);
      for (const balancer of cluster.balancers) {
        const unwanted = Object.keys(await countersOf(balancer)).filter((series) =>
          /^balancer\.(moved|misdirected|failed|outdated)/.test(series),
        );
        expect(unwanted).toEqual([]);
      }
    },
  };
}

/** All ring fingerprints of balancers, sampled often: keys move only when the ring changes. */
function watchRings(balancers: readonly Member[]): { stop(): Promise<unknown[]> } {
  const seen = new Set<unknown>();
  let isStopped = false;
  const watching = (async () => {
    while (!isStopped) {
      for (const balancer of balancers) seen.add((await balancer.view())["ring"]);
      await delay(100);
    }
  })();
  return {
    async stop() {
      isStopped = true;
      await watching;
      return [...seen];
    },
  };
}

async function storeIsAway(balancers: readonly Member[]): Promise<void> {
  for (const balancer of balancers) {
    await until("the balancer says that its store is away", async () => {
      const { status, body } = await readiness(balancer);
      return status === 200 && body.status === "degraded";
    });
  }
}

async function storeIsBack(balancers: readonly Member[]): Promise<void> {
  for (const balancer of balancers) {
    const isReady = async () => (await readiness(balancer)).body.status === "ready";
    await until("the balancer has its store again", isReady);
  }
}

test("a restart of Redis moves no key and costs no connection", async () => {
  const { cluster, session, expectIdle } = await busyEdge();
  await cluster.redis.kill();
  await storeIsAway(cluster.balancers);
  await everybodyHears(session.host, session.guests, "without a store");
  await delay(2000);
  await cluster.redis.start();
  await storeIsBack(cluster.balancers);
  // Longer than an empty store settles.
  await until("the members are settled", async () => (await settledFor(cluster)) > 9000, 30_000);
  await expectIdle();
}, 90_000);

test("an outage of Redis of 10 s moves no key and costs no connection", async () => {
  const { cluster, session, expectIdle } = await busyEdge();
  cluster.redis.pause();
  await storeIsAway(cluster.balancers);
  await everybodyHears(session.host, session.guests, "without a store");
  await delay(10_000);
  cluster.redis.resume();
  await storeIsBack(cluster.balancers);
  await delay(3000);
  await expectIdle();
}, 90_000);

test("a flush of Redis moves no key and costs no connection, and the workers are registered again within a heartbeat", async () => {
  const { cluster, expectIdle } = await busyEdge();
  const admin = cluster.redis.admin();
  await admin.flushall();
  await until("all are members again", async () => (await admin.zcard("{ct}:members")) === 4);
  await until("the members are settled", async () => (await settledFor(cluster)) > 9000, 30_000);
  await expectIdle();
}, 90_000);

/** For how long Redis has not been empty, in ms; 0 while it is. */
async function settledFor(cluster: Cluster): Promise<number> {
  const admin = cluster.redis.admin();
  const [boot, [seconds = 0]] = await Promise.all([admin.get("{ct}:boot"), admin.time()]);
  return boot === null ? 0 : Number(seconds) * 1000 - Number(boot);
}
