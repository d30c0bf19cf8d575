/**
 * Sessions outlive workers, balancers and the store: real processes, a real Redis and unmodified clients that keep typing.
 */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import type { SessionKey, WorkerId } from "../../shared/base/ids.ts";
import { createRing } from "../../shared/membership/ring.ts";
import { deriveKeys } from "../../shared/settings/secret.ts";
import {
  type Churn,
  describeRecoveries,
  quantile,
  type Recovery,
  startChurn,
} from "../support/churn.ts";
import type { Client } from "../support/clients.ts";
import { CLUSTER_SECRET, type Cluster, countersOf, type Member, sees } from "../support/cluster.ts";
import { runCommand } from "../support/command.ts";
import { openLine } from "../support/cut.ts";
import { createGate } from "../support/gate.ts";
import { type Promised, watchMachine } from "../support/machine.ts";
import { person } from "../support/people.ts";
import { freePort } from "../support/ports.ts";
import {
  equalAfter,
  heardTwice,
  openTeams,
  pauses,
  type Team,
  type Teams,
  whatTheyKnow,
} from "../support/teams.ts";
import { until } from "../support/until.ts";

const machine = watchMachine();
/** A client that waits longer is stuck: clients give up after 30 s. */
const HANG_MS = 60_000;

// The promised times. Most of each is the protocol's own timers: the clients' backoff (1 s ± 50 %, then twice that), the
// 2.5 s after which a refused connection counts, the lease of 5 s.
const KILLED_P50 = { promisedMs: 3500, waitsMs: 2500 };
const KILLED_P99 = { promisedMs: 7000, waitsMs: 4000 };
const SILENT_P99 = { promisedMs: 12_000, waitsMs: 7500 };
const BALANCER_KILLED_P99 = { promisedMs: 7000, waitsMs: 1500 };
/** Clients ask each other for missing updates every 10 s. */
const EQUAL = { promisedMs: 15_000, waitsMs: 10_000 };
/** An empty store settles for 8 s: no member is considered gone. */
const KNOWN_AGAIN = { promisedMs: 13_000, waitsMs: 8000 };

let churn: Churn;
let cluster: Cluster;
let all: Teams;
let known: unknown;

beforeAll(async () => {
  churn = await startChurn({ teams: 10, guests: 2, typingMs: 2000 });
  ({ cluster, all } = churn);
  known = whatTheyKnow(all.clients);
}, 300_000);

afterAll(() => churn?.close());

beforeEach(() => churn.startTyping());

/** After any fault: the same people with the same roles; none left, was approved again, or received a message twice. */
afterEach(async () => {
  await all.stopTyping();
  await equalAfter(all.teams, performance.now(), HANG_MS);
  expect(whatTheyKnow(all.clients)).toEqual(known);
  expect(heardTwice(all.clients)).toEqual([]);
}, 120_000);

// --- members come ---

test("three additional workers take new sessions, and no live session moves", async () => {
  const before = await churn.records(all.teams);
  const reconnects = churn.reconnects();
  for (let i = 0; i < 3; i++) await cluster.addWorker();
  for (const balancer of cluster.balancers) await sees(balancer, 6);
  const young = cluster.workers.slice(3).map(({ id }) => id);
  const hosts = Array.from({ length: 12 }, (_, i) =>
    person({ baseUrl: churn.url, name: `New ${i}` }),
  );
  const owners = new Set<string>();
  for (const host of hosts) owners.add((await churn.recordOf(await host.host())).owner);
  expect([...owners].filter((owner) => young.includes(owner)).length).toBeGreaterThan(0);
  expect(await churn.records(all.teams)).toEqual(before);
  expect(churn.reconnects()).toBe(reconnects);
  for (const host of hosts) await host.leave();
  await Promise.all(cluster.workers.splice(3).map((worker) => worker.stop()));
  for (const balancer of cluster.balancers) await sees(balancer, 3);
}, 300_000);

// --- a worker dies ---

test("after each of three kills of a worker its peers are back within seconds under the same identity", async () => {
  const sinceMs = performance.now();
  const recoveries: Recovery[] = [];
  let last: readonly Team[] = [];
  for (let round = 0; round < 3; round++) {
    const { worker, teams } = await churn.busiest();
    last = teams;
    const killedMs = performance.now();
    await worker.kill();
    recoveries.push(await churn.recovery(teams, killedMs));
    for (const { owner } of await churn.records(teams)) expect(owner).not.toBe(worker.id);
    await churn.replace(worker);
  }
  expectSoon("a worker is killed", recoveries, { p50: KILLED_P50, p99: KILLED_P99, sinceMs });
  await expectHistory(last[0] as Team);
}, 300_000);

test("when two of three workers are killed at once all sessions continue at the third", async () => {
  const [first, second, third] = cluster.workers as [Member, Member, Member];
  const teams = [...(await churn.teamsOf(first)), ...(await churn.teamsOf(second))];
  const killedMs = performance.now();
  await Promise.all([first.kill(), second.kill()]);
  const recovered = await churn.recovery(teams, killedMs);
  expectSoon("two of three are killed", [recovered], { p99: KILLED_P99, sinceMs: killedMs });
  for (const { owner } of await churn.records(all.teams)) expect(owner).toBe(third.id);
  await churn.replace(first, second);
}, 300_000);

// --- a worker hangs, or is cut off ---

test("peers of a worker that is paused for 20 s are back before it continues, and then it delivers nothing of what it had received", async () => {
  const { worker, teams } = await churn.busiest();
  const delivered = await churn.quietDeliveries(worker);
  const stoppedMs = performance.now();
  const stopped = await churn.stopFor(worker, teams, 20_000);
  expectSoon("a worker is stopped", [stopped], { p99: SILENT_P99, sinceMs: stoppedMs });
  await expectToHaveLetGo(worker, teams, delivered);
}, 300_000);

test("peers of a worker that is cut off are back elsewhere, and when its network returns it delivers nothing that was in flight", async () => {
  const port = await freePort();
  const toWorker = await openLine(() => [port]);
  const toRedis = await openLine(() => [cluster.redis.port]);
  const worker = await cluster.addWorker({
    env: {
      CT_WORKER_ID: "cut-off",
      CT_WORKER_PORT: String(port),
      CT_WORKER_URL: `http://127.0.0.1:${toWorker.port}`,
      CT_REDIS_URL: `redis://127.0.0.1:${toRedis.port}`,
    },
  });
  for (const balancer of cluster.balancers) await sees(balancer, 4);
  const teams = await openTeamsOn(worker);
  try {
    const before = whatTheyKnow(teams.clients);
    const delivered = await churn.quietDeliveries(worker);
    const cutMs = performance.now();
    for (const line of [toWorker, toRedis]) line.cut();
    teams.startTyping(1000);
    await churn.haveMoved(teams.teams, cutMs);
    const backMs = await pauses(teams.clients, cutMs, HANG_MS);
    await teams.stopTyping();
    const equalMs = await equalAfter(teams.teams, cutMs, HANG_MS);
    const limits = { p99: SILENT_P99, sinceMs: cutMs };
    expectSoon("a worker is cut off", [{ backMs, equalMs }], limits);
    for (const line of [toWorker, toRedis]) line.mend();
    await expectToHaveLetGo(worker, teams.teams, delivered);
    expect(whatTheyKnow(teams.clients)).toEqual(before);
    expect(heardTwice(teams.clients)).toEqual([]);
  } finally {
    await Promise.all(teams.teams.map(({ host }) => host.leave()));
    await teams.close();
    await worker.stop();
    cluster.workers.splice(cluster.workers.indexOf(worker), 1);
    for (const line of [toWorker, toRedis]) await line.close();
  }
}, 300_000);

// --- a balancer dies, or has a stale view ---

test("when the balancer of all clients is killed they return through the other, at the same workers", async () => {
  const before = await churn.records(all.teams);
  const [balancer] = cluster.balancers as [Member];
  const killedMs = performance.now();
  await balancer.kill();
  const recovered = await churn.recovery(all.teams, killedMs, "balancer");
  expectSoon("a balancer is killed", [recovered], {
    p99: BALANCER_KILLED_P99,
    sinceMs: killedMs,
  });
  expect(await churn.records(all.teams)).toEqual(before);
  cluster.balancers.splice(0, 1);
  await sees(await cluster.addBalancer(), cluster.workers.length);
}, 300_000);

test("a balancer without the store leads everyone to sessions that have moved", async () => {
  const toRedis = await openLine(() => [cluster.redis.port]);
  const frozen = await cluster.addBalancer({
    env: { CT_REDIS_URL: `redis://127.0.0.1:${toRedis.port}` },
  });
  cluster.balancers.splice(cluster.balancers.indexOf(frozen), 1);
  await sees(frozen, 3);
  const { worker, teams } = await churn.busiest();
  // It has cached the owners, and will not learn of the change.
  const [visitor, ...others] = Array.from({ length: teams.length + 1 }, (_, i) =>
    person({ baseUrl: frozen.url, name: `Visitor ${i}` }),
  ) as [Client, ...Client[]];
  await Promise.all([visitor, ...others].map((client) => client.login()));
  toRedis.cut();
  const killedMs = performance.now();
  await worker.kill();
  await churn.haveMoved(teams, killedMs);
  await churn.replace(worker);
  // A visitor is approved by the host and leaves again: it reached the session.
  for (const [i, client] of others.entries()) {
    const team = teams[i] as Team;
    await client.join(team.sessionId);
    await client.leave();
    await until("all have seen it leave", () =>
      team.everybody.every(({ left }) => left.some(({ name }) => name === client.name)),
    );
  }
  known = whatTheyKnow(all.clients);
  expect((await countersOf(frozen))["balancer.misdirected{too-many-hops}"]).toBeUndefined();
  await frozen.kill();
  await toRedis.close();
}, 300_000);

// --- the store is away, and comes back empty ---

test("when the store is away for 15 s and returns empty no client notices, new sessions start, and all records are written again", async () => {
  const reconnects = churn.reconnects();
  const early = person({ baseUrl: churn.url, name: "Early" });
  await early.login();
  await cluster.redis.kill();
  const awayMs = performance.now();
  const started = await early.host();
  await until("15 s have passed", () => performance.now() - awayMs > 15_000, 20_000);
  await cluster.redis.start();
  const backMs = performance.now();
  const sessionIds = [started, ...all.teams.map(({ sessionId }) => sessionId)];
  await until(
    "all sessions and peers are known again",
    async () => {
      const peers = await Promise.all(sessionIds.map((id) => churn.admin.hlen(`{ct}:peers:${id}`)));
      return peers[0] === 1 && peers.slice(1).every((count) => count === 3);
    },
    HANG_MS,
  );
  const tookMs = performance.now() - backMs;
  process.stdout.write(
    `the store comes back empty: all is known again after ${Math.round(tookMs)} ms\n`,
  );
  expect(tookMs).toBeLessThanOrEqual(machine.limitMs(backMs, KNOWN_AGAIN));
  expect(churn.reconnects()).toBe(reconnects);
  const guest = person({ baseUrl: churn.url, name: "Late" });
  await guest.join(started);
  await guest.leave();
  await early.leave();
}, 300_000);

test("no client notices when the store hangs for 8 s, longer than any lease", async () => {
  const before = await churn.records(all.teams);
  const reconnects = churn.reconnects();
  cluster.redis.pause();
  const hungMs = performance.now();
  try {
    await until("8 s have passed", () => performance.now() - hungMs > 8000);
  } finally {
    cluster.redis.resume();
  }
  await until("it is up for all workers", async () => {
    const views = await Promise.all(cluster.workers.map((worker) => worker.view()));
    return views.every((view) => (view as { store: { state: string } }).store.state === "up");
  });
  expect(churn.reconnects()).toBe(reconnects);
  expect(await churn.records(all.teams)).toEqual(before);
}, 300_000);

// --- between the steps of a session's beginning ---

test("sessions survive a kill of their worker between create and the host's socket, and between a join request and its answer", async () => {
  const host = person({ baseUrl: churn.url, name: "Unlucky" });
  await host.login();
  const { roomId, roomToken } = await host.provider.createRoom({});
  const first = await killOwner(roomId);
  await host.enterAsHost(roomToken);
  await churn.replace(first);

  // A guest asks to join, and the worker is killed before the host answers.
  const answer = createGate();
  host.decide = () => answer.opened.then(() => "approve");
  const guest = person({ baseUrl: churn.url, name: "Patient" });
  const joined = guest.join(roomId);
  joined.catch(() => {});
  await until("the host is asked", () => host.joinRequests.length > 0);
  const { epoch } = await churn.recordOf(roomId);
  const second = await killOwner(roomId);
  const hasMoved = async () => (await churn.recordOf(roomId)).epoch !== epoch;
  await until("another worker has the session", hasMoved, HANG_MS);
  answer.open();
  await joined;
  await churn.replace(second);
  await host.say("welcome");
  await until("the guest hears it", () => guest.said.some(({ text }) => text === "welcome"));
  await host.leave();
  await until("the session is over", async () => (await churn.recordOf(roomId)).state === "closed");

  // A session that is created and never opened leaves no record, even if its worker is dead.
  await host.login();
  const never = await host.provider.createRoom({});
  const third = await killOwner(never.roomId);
  const leftMs = await churn.admin.pttl(`{ct}:session:${never.roomId}`);
  expect(leftMs).toBeGreaterThan(0);
  expect(leftMs).toBeLessThanOrEqual(60_000);
  await churn.replace(third);
}, 300_000);

// --- arrangements ---

async function killOwner(sessionId: string): Promise<Member> {
  const { owner } = await churn.recordOf(sessionId);
  const worker = cluster.workers.find(({ id }) => id === owner);
  if (worker === undefined) throw new Error(`no worker ${owner}`);
  await worker.kill();
  return worker;
}

/** Two teams of two on this worker, with keys that the ring maps to it. */
async function openTeamsOn(worker: Member): Promise<Teams> {
  const members = cluster.workers.map(({ id }) => ({ id: id as WorkerId, weight: 1 }));
  const ring = createRing(members, deriveKeys(CLUSTER_SECRET).ring);
  const keys = Array.from({ length: 1000 }, (_, i) => `cut-${i}`).filter(
    (key) => ring.first(key as SessionKey) === worker.id,
  );
  const teams = await openTeams({
    count: 2,
    guests: 1,
    url: (team) => `${churn.url}/k/${keys[team]}`,
  });
  for (const { owner } of await churn.records(teams.teams)) expect(owner).toBe(worker.id);
  return teams;
}

/** A worker that continues after a pause or a network cut has lost its sessions, and has delivered nothing since. */
async function expectToHaveLetGo(
  worker: Member,
  teams: readonly Team[],
  delivered: number,
): Promise<void> {
  const counters = await until("it has released its sessions", async () => {
    const seen = await countersOf(worker);
    return (seen["worker.sessions_closed{lost}"] ?? 0) >= teams.length && seen;
  });
  expect(counters["worker.fenced"]).toBeGreaterThanOrEqual(1);
  expect(counters["worker.messages_delivered"] ?? 0).toBe(delivered);
  for (const { owner } of await churn.records(teams)) expect(owner).not.toBe(worker.id);
}

/** The history shows the current owner, its epoch, and why the session moved there. */
async function expectHistory({ sessionId }: Team): Promise<void> {
  const env = { CT_REDIS_URL: cluster.redisUrl };
  const { stdout } = await runCommand(["events", "--session", sessionId, "--json"], env);
  const events = stdout
    .trimEnd()
    .split("\n")
    .map(
      (line) => JSON.parse(line) as { kind: string; worker: string; epoch: number; cause: string },
    );
  expect(events[0]?.kind).toBe("created");
  const { owner, epoch } = await churn.recordOf(sessionId);
  const moved = events.findLast(({ kind }) => kind === "resumed");
  expect(moved).toMatchObject({ worker: owner, epoch: Number(epoch) });
  expect(["refused", "lease-gone"]).toContain(moved?.cause);
}

/** Prints the figures. Limits scale with how busy the machine was since `sinceMs`. */
function expectSoon(
  what: string,
  recoveries: readonly Recovery[],
  limits: { readonly p50?: Promised; readonly p99: Promised; readonly sinceMs: number },
): void {
  const { sinceMs } = limits;
  process.stdout.write(
    `${describeRecoveries(what, recoveries).trimEnd()}; work took ${machine.stretchSince(sinceMs).toFixed(1)} times as long as alone\n`,
  );
  const backMs = recoveries.flatMap((one) => one.backMs);
  if (limits.p50 !== undefined) {
    expect(quantile(backMs, 0.5)).toBeLessThanOrEqual(machine.limitMs(sinceMs, limits.p50));
  }
  expect(quantile(backMs, 0.99)).toBeLessThanOrEqual(machine.limitMs(sinceMs, limits.p99));
  const equalLimitMs = machine.limitMs(sinceMs, EQUAL);
  for (const { equalMs } of recoveries) expect(equalMs).toBeLessThanOrEqual(equalLimitMs);
}
