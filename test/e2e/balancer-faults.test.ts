/**
 * What clients notice when a balancer dies, starts without its store, or goes on with what it knew: with real processes,
 * a real Redis and unmodified clients.
 */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fetch } from "undici";
import { expect, onTestFinished, test } from "vitest";
import type { Client } from "../support/clients.ts";
import {
  type Cluster,
  type Member,
  sees,
  startCluster,
  workersSeenBy,
} from "../support/cluster.ts";
import { type Front, startFront } from "../support/front.ts";
import {
  documentsEqual,
  everybodyHears,
  type OpenSession,
  openSession,
  person,
} from "../support/people.ts";
import { freePort } from "../support/ports.ts";
import { startTraffic } from "../support/steady-traffic.ts";
import { until } from "../support/until.ts";

type ClusterOptions = Parameters<typeof startCluster>[0];

async function clusterForThisTest(options: ClusterOptions): Promise<Cluster> {
  const cluster = await startCluster(options);
  onTestFinished(() => cluster.dispose());
  return cluster;
}

async function frontForThisTest(port: number): Promise<Front> {
  const front = await startFront(port);
  onTestFinished(() => front.close());
  return front;
}

function folderForThisTest(): string {
  const folder = mkdtempSync(join(tmpdir(), "ct-data-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** What must be the same after a fault that costs connections only. */
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
    const { sessions } = (await worker.view()) as { sessions: { id: string }[] };
    if (sessions.some(({ id }) => id === sessionId)) return worker.id;
  }
  return undefined;
}

/** In their sessions: the package reports a reconnect when a worker has taken the connection and lets it wait. */
async function allAreBack(clients: readonly Client[]): Promise<void> {
  await until(
    "everybody is served again",
    () => clients.every((client) => client.isServed && client.servedMs.length > 1),
    30_000,
  );
}

async function readiness(balancer: Member): Promise<{ status: number; body: unknown }> {
  const answer = await fetch(`http://127.0.0.1:${balancer.statusPort}/health/ready`);
  return { status: answer.status, body: await answer.json() };
}

test("one of two balancers is killed: its clients come back through the other, nothing is told twice", async () => {
  const cluster = await clusterForThisTest({ workers: 3, balancers: 2 });
  const [first, second] = cluster.balancers as [Member, Member];
  const front = await frontForThisTest(first.port);
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

/** Everybody says something new all the time. */
function speakAll(clients: readonly Client[]): { stop(): Promise<void> } {
  let isStopped = false;
  const speaking = clients.map(async (client) => {
    for (let i = 0; !isStopped; i++) {
      // While it is not connected the client keeps what it says.
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

test("a balancer that is restarted while the store is away goes on with what it knew", async () => {
  const dataDir = folderForThisTest();
  const env = { CT_DATA_DIR: dataDir, CT_PORT: String(await freePort()) };
  const cluster = await clusterForThisTest({ workers: 2, balancers: 0 });
  const balancer = await cluster.addBalancer({ env });
  const session = await openSession({ baseUrl: balancer.url, guestCount: 1 });
  await until("a snapshot is there", () =>
    readdirSync(dataDir).some((name) => name.endsWith(".snapshot")),
  );
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
  await until("all is well", async () => {
    const { body } = await readiness(again);
    return (body as { status: string }).status === "ready";
  });
  await everybodyHears(session.host, session.guests, "with a store");
  expect(identities(session)).toEqual(before);
}, 90_000);

test("a balancer whose snapshot is damaged starts without it, says so once, and works when the store is back", async () => {
  const dataDir = folderForThisTest();
  const cluster = await clusterForThisTest({ workers: 1, balancers: 0 });
  const env = { CT_DATA_DIR: dataDir };
  const balancer = await cluster.addBalancer({ env });
  const [name] = await until("a snapshot is there", () => {
    const names = readdirSync(dataDir).filter((file) => file.endsWith(".snapshot"));
    return names.length > 0 && names;
  });
  await balancer.kill();
  writeFileSync(join(dataDir, name ?? ""), '{"format":1}\n{"half');
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
  /** Knows three workers, and has lost its store. */
  readonly frozen: Member;
  /** A worker with a port that is known before it starts. */
  readonly victim: Member;
  readonly restartVictim: () => Promise<Member>;
  readonly restartElsewhere: () => Promise<Member>;
  readonly sessions: readonly OpenSession[];
  /** Those at the victim. */
  readonly orphans: readonly OpenSession[];
}

async function frozenEdge(): Promise<Frozen> {
  const cluster = await clusterForThisTest({ workers: 2, balancers: 1 });
  const port = String(await freePort());
  const victim = await cluster.addWorker({ env: { CT_WORKER_PORT: port } });
  const store = await frontForThisTest(cluster.redis.port);
  const frozen = await cluster.addBalancer({
    env: { CT_REDIS_URL: `redis://127.0.0.1:${store.port}` },
  });
  await sees(frozen, 3);
  const sessions: OpenSession[] = [];
  for (let i = 0; i < 4 || !(await anyAt(victim, sessions)); i++) {
    sessions.push(await openSession({ baseUrl: frozen.url, guestCount: 1 }));
  }
  const orphans = await sessionsAt(victim, sessions);
  store.cut();
  await storeIsAway([frozen]);
  const restartVictim = () =>
    cluster.addWorker({ env: { CT_WORKER_ID: victim.id, CT_WORKER_PORT: port } });
  /** On a port that nobody knows before. */
  const restartElsewhere = () => cluster.addWorker({ env: { CT_WORKER_ID: victim.id } });
  return { cluster, frozen, victim, restartVictim, restartElsewhere, sessions, orphans };
}

test("a balancer whose view is frozen: all goes well through it while a worker dies and comes back", async () => {
  const { cluster, frozen, victim, restartVictim, sessions, orphans } = await frozenEdge();
  const [other] = cluster.balancers as [Member];
  const before = sessions.map(identities);
  const traffic = startTraffic([frozen.url]);
  await until("traffic flows", () => traffic.answered > 20);

  await victim.kill();
  await allAreBack(orphans.flatMap(({ everybody }) => everybody));
  const restarted = await restartVictim();
  await sees(other, 3);
  expect(await workersSeenBy(frozen)).toContain(restarted.id);

  for (const session of sessions) {
    const late = person({ baseUrl: frozen.url, name: "Late" });
    await late.join(session.sessionId);
    await everybodyHears(late, session.everybody, "through a frozen balancer");
  }
  await openSession({ baseUrl: frozen.url, guestCount: 1 });
  await traffic.stop();
  expect(traffic.failures).toEqual([]);
  expect(sessions.map(identities).map(withoutLate)).toEqual(before);
  const counted = await misdirectedBy(frozen);
  expect(counted).not.toHaveProperty("too-many-hops");

  // What it was told once, it knows.
  for (const { sessionId } of sessions) {
    const headers = { ctstickiness: sessionId };
    expect((await fetch(`${frozen.url}/api/meta`, { headers })).status).toBe(200);
  }
  expect(await misdirectedBy(frozen)).toEqual(counted);
}, 120_000);

test("a balancer whose view is frozen learns from a worker itself that it was started anew", async () => {
  const { frozen, victim, restartVictim, sessions, orphans } = await frozenEdge();
  const before = sessions.map(identities);
  const traffic = startTraffic([frozen.url]);
  await until("traffic flows", () => traffic.answered > 20);

  await victim.kill();
  // Before anybody else has taken its sessions over, so that most of them go on under its name.
  await restartVictim();
  await allAreBack(orphans.flatMap(({ everybody }) => everybody));
  await until("it is well", async () => (await seenAs(frozen, victim.id)) === "up");

  for (const { host, guests } of sessions) await everybodyHears(host, guests, "after a restart");
  await openSession({ baseUrl: frozen.url, guestCount: 1 });
  await traffic.stop();
  expect(traffic.failures).toEqual([]);
  expect(sessions.map(identities)).toEqual(before);
}, 120_000);

test("a balancer whose view is frozen finds a worker that comes back at another address, and a new one", async () => {
  const { cluster, frozen, victim, restartElsewhere, sessions, orphans } = await frozenEdge();
  const before = sessions.map(identities);
  const traffic = startTraffic([frozen.url]);
  await until("traffic flows", () => traffic.answered > 20);

  await victim.kill();
  const restarted = await restartElsewhere();
  expect(restarted.port).not.toBe(victim.port);
  await allAreBack(orphans.flatMap(({ everybody }) => everybody));
  await until("it is found", async () => (await urlSeenAs(frozen, victim.id)) === restarted.url);
  await until("it is well", async () => (await seenAs(frozen, victim.id)) === "up");
  const added = await cluster.addWorker();
  await until("the new one is well", async () => (await seenAs(frozen, added.id)) === "up");

  for (const { host, guests } of sessions) await everybodyHears(host, guests, "after a restart");
  await openSession({ baseUrl: frozen.url, guestCount: 1 });
  await traffic.stop();
  expect(traffic.failures).toEqual([]);
  expect(sessions.map(identities)).toEqual(before);
}, 120_000);

test("a balancer that starts without its store finds a worker that is not where its snapshot says", async () => {
  const dataDir = folderForThisTest();
  const cluster = await clusterForThisTest({ workers: 1, balancers: 0 });
  const victim = await cluster.addWorker();
  const store = await frontForThisTest(cluster.redis.port);
  const env = { CT_DATA_DIR: dataDir, CT_REDIS_URL: `redis://127.0.0.1:${store.port}` };
  const before = await cluster.addBalancer({ env });
  await sees(before, 2);
  await until("a snapshot is there", () =>
    readdirSync(dataDir).some((name) => name.endsWith(".snapshot")),
  );
  await before.stop();
  store.cut();
  await victim.kill();
  const restarted = await cluster.addWorker({ env: { CT_WORKER_ID: victim.id } });

  const balancer = await cluster.addBalancer({ env });
  await until("it is found", async () => (await urlSeenAs(balancer, victim.id)) === restarted.url);
  await until("it is well", async () => (await seenAs(balancer, victim.id)) === "up");
  await openSession({ baseUrl: balancer.url, guestCount: 1 });
}, 60_000);

async function urlSeenAs(balancer: Member, id: string): Promise<string | undefined> {
  const { workers } = (await balancer.view()) as { workers: { id: string; url: string }[] };
  return workers.find((worker) => worker.id === id)?.url;
}

async function sessionsAt(worker: Member, all: readonly OpenSession[]): Promise<OpenSession[]> {
  const { sessions } = (await worker.view()) as { sessions: { id: string }[] };
  return all.filter(({ sessionId }) => sessions.some(({ id }) => id === sessionId));
}

async function anyAt(worker: Member, all: readonly OpenSession[]): Promise<boolean> {
  return (await sessionsAt(worker, all)).length > 0;
}

function withoutLate(people: ReturnType<typeof identities>): ReturnType<typeof identities> {
  return people.map((one) => ({ ...one, joined: one.joined.filter((name) => name !== "Late") }));
}

/** Answers 421 by what was done about them. */
async function misdirectedBy(balancer: Member): Promise<Record<string, number>> {
  const { counters } = (await balancer.view()) as { counters: Record<string, number> };
  const series = Object.entries(counters).flatMap(([name, count]) => {
    const outcome = /^balancer\.misdirected\{(.*)\}$/.exec(name)?.[1];
    return outcome === undefined ? [] : [[outcome, count] as const];
  });
  return Object.fromEntries(series);
}

// --- a worker fails ---

test("a worker is stopped, goes on, and is killed: no request fails, and other sessions notice nothing", async () => {
  const cluster = await clusterForThisTest({ workers: 3, balancers: 1 });
  const [balancer] = cluster.balancers as [Member];
  const [victim] = cluster.workers as [Member];
  const idle: OpenSession[] = [];
  while (idle.length === 0) {
    const session = await openSession({ baseUrl: balancer.url, guestCount: 1 });
    if (!(await anyAt(victim, [session]))) idle.push(session);
  }
  const traffic = startTraffic([balancer.url]);
  await until("traffic flows", () => traffic.answered > 20);

  victim.child.kill("SIGSTOP");
  onTestFinished(() => void victim.child.kill("SIGCONT"));
  // How soon, is measured where it is decided (test/balancer/take-over.test.ts).
  await until("it is left", async () => (await seenAs(balancer, victim.id)) === "suspect");
  await until("it is gone", async () => (await seenAs(balancer, victim.id)) === undefined);
  victim.child.kill("SIGCONT");
  await until("it is back", async () => (await seenAs(balancer, victim.id)) === "up");

  await victim.kill();
  await until("it is left", async () => (await seenAs(balancer, victim.id)) !== "up");
  await until("it is gone", async () => (await seenAs(balancer, victim.id)) === undefined);
  for (const { host, guests } of idle) await everybodyHears(host, guests, "still here");
  expect(idle.flatMap(({ everybody }) => everybody.map((one) => one.reconnectCount))).toEqual([
    0, 0,
  ]);
  await traffic.stop();
  expect(traffic.failures).toEqual([]);
}, 90_000);

/** The health of a worker as the balancer sees it; undefined when it is none. */
async function seenAs(balancer: Member, id: string): Promise<string | undefined> {
  const { workers } = (await balancer.view()) as { workers: { id: string; health: string }[] };
  return workers.find((worker) => worker.id === id)?.health;
}

// --- the store fails ---

interface Weather {
  readonly cluster: Cluster;
  readonly session: OpenSession;
  /** Asserts that nobody noticed anything. */
  readonly expectIdle: () => Promise<void>;
}

/** A busy edge of two balancers and two workers, and everything that must not change. */
async function busyEdge(): Promise<Weather> {
  const cluster = await clusterForThisTest({ workers: 2, balancers: 2 });
  const [first, second] = cluster.balancers as [Member, Member];
  const session = await openSession({ baseUrl: first.url, guestCount: 2 });
  const traffic = startTraffic([first.url, second.url]);
  const identitiesBefore = identities(session);
  const ringBefore = (await first.view())["ring"];
  const rings = watchRings(cluster.balancers);
  await until("traffic flows", () => traffic.answered > 20);
  return {
    cluster,
    session,
    async expectIdle() {
      await everybodyHears(session.host, session.guests, "still here");
      await traffic.stop();
      expect(traffic.failures).toEqual([]);
      expect(await rings.stop()).toEqual([ringBefore]);
      expect(identities(session)).toEqual(identitiesBefore);
      expect(session.everybody.map((client) => client.reconnectCount)).toEqual([0, 0, 0]);
      for (const balancer of cluster.balancers) {
        const { counters } = (await balancer.view()) as { counters: Record<string, number> };
        const unwanted = Object.keys(counters).filter((series) =>
          /^balancer\.(moved|misdirected|failed|outdated)/.test(series),
        );
        expect(unwanted).toEqual([]);
      }
    },
  };
}

/** All rings that balancers had, looked at often: keys move only when it changes. */
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
      return status === 200 && (body as { status: string }).status === "degraded";
    });
  }
}

async function storeIsBack(balancers: readonly Member[]): Promise<void> {
  for (const balancer of balancers) {
    await until("the balancer has its store again", async () => {
      const { body } = await readiness(balancer);
      return (body as { status: string }).status === "ready";
    });
  }
}

test("Redis is restarted: nobody notices, no key moves, no connection is lost", async () => {
  const { cluster, session, expectIdle } = await busyEdge();
  await cluster.redis.kill();
  await storeIsAway(cluster.balancers);
  await everybodyHears(session.host, session.guests, "without a store");
  await delay(2000);
  await cluster.redis.start();
  await storeIsBack(cluster.balancers);
  // Past the time for which a store that was empty is not believed.
  await until("the members are settled", async () => (await settledFor(cluster)) > 9000, 30_000);
  await expectIdle();
}, 90_000);

test("Redis is stopped for 10 s: nobody notices, no key moves, no connection is lost", async () => {
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

test("Redis is flushed: nobody notices, no key moves, the workers are there again within a beat", async () => {
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
