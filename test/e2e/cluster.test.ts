/**
 * Many machines: unmodified clients share sessions through one and through two balancers, with three workers and Redis.
 */
import type { Redis } from "ioredis";
import { beforeAll, expect, test } from "vitest";
import {
  type Cluster,
  type Member,
  sees,
  sessionsOf,
  startCluster,
  workersSeenBy,
} from "../support/cluster.ts";
import { watchMachine } from "../support/machine.ts";
import { type MainJobReport, playMainJob } from "../support/main-job.ts";
import { openSession } from "../support/people.ts";
import { type StatsdSink, startStatsdSink } from "../support/statsd-sink.ts";
import { until } from "../support/until.ts";

const machine = watchMachine();

let cluster: Cluster;
let first: Member;
let second: Member;
let statsd: StatsdSink;

beforeAll(async () => {
  statsd = await startStatsdSink();
  cluster = await startCluster({
    workers: 3,
    balancers: 2,
    // With all that a process may do at rest. Nobody signs in at the provider, which is never asked.
    env: {
      CT_METRICS_STATSD_HOST: "127.0.0.1",
      CT_METRICS_STATSD_PORT: String(statsd.port),
      CT_OIDC_ISSUER: "http://127.0.0.1:9",
      CT_OIDC_CLIENT_ID: "edge",
      CT_OIDC_CLIENT_SECRET: "secret",
    },
  });
  [first, second] = cluster.balancers as [Member, Member];
});

// --- idle: first, while there are no sessions to be closed ---

test("at rest each worker and balancer sends Redis one command a second, the leader of all roles too", {
  timeout: 240_000,
}, async () => {
  const admin = cluster.redis.admin();
  const leader = await until(
    "a leader",
    async () => (await admin.get("{ct}:role:reaper")) ?? undefined,
  );
  // It keeps this role too, because the next one that asks for it is told that it leads.
  await admin.set("{ct}:role:statsd", leader, "PX", 15_000);
  const watch = await watchCommands(admin);
  // The start takes some commands more.
  await until(
    "thirty seconds of rest",
    () =>
      performance.now() - watch.sinceMs > REST_MS &&
      [...watch.timesByName.values()].every((times) => inLast(times, REST_MS) <= 30 + 1),
    200_000,
  );
  expect(watch.timesByName.size).toBe(5);
  for (const times of watch.timesByName.values())
    expect(inLast(times, REST_MS)).toBeGreaterThan(20);
  expect(await admin.get("{ct}:role:statsd")).toBe(leader);
  expect(await admin.get("{ct}:role:reaper")).toBe(leader);
  watch.stop();
});

const REST_MS = 30_000;

function inLast(times: readonly number[], ms: number): number {
  const sinceMs = performance.now() - ms;
  return times.filter((time) => time > sinceMs).length;
}

/** When each process sent a command, on any of its connections. */
async function watchCommands(admin: Redis) {
  const nameByAddress = new Map<string, string>();
  for (const line of String(await admin.client("LIST")).split("\n")) {
    const [, address, name] = / addr=(\S+) .* name=(ct-\S+?)(?:-changes)? /.exec(line) ?? [];
    if (address !== undefined && name !== undefined) nameByAddress.set(address, name);
  }
  const timesByName = new Map<string, number[]>();
  for (const name of nameByAddress.values()) timesByName.set(name, []);
  const monitor = await admin.monitor();
  monitor.on("monitor", (_time: string, _args: string[], source: string) => {
    timesByName.get(nameByAddress.get(source) ?? "")?.push(performance.now());
  });
  return { sinceMs: performance.now(), timesByName, stop: () => monitor.disconnect() };
}

// --- the main job ---

test("ten people do the main job through one balancer", async () => {
  const at = { baseUrl: first.url };
  expectAllWell(await playMainJob({ host: at, guests: at, guestCount: 9 }), 9);
});

test.each([
  ["no key", {}],
  ["a ctstickiness header", { headers: { ctstickiness: "team=blue; sprint 7" } }],
])("host and guests do the main job through different balancers with %s", async (_name, more) => {
  const job = {
    host: { baseUrl: first.url, ...more },
    guests: { baseUrl: second.url, ...more },
    guestCount: 4,
  };
  expectAllWell(await playMainJob(job), 4);
});

test("several teams do the main job at once, each spread over both balancers", async () => {
  const teams = [1, 2, 3, 4].map((number) => {
    const [host, guests] = number % 2 === 0 ? [first, second] : [second, first];
    const key = `/k/team-${number}`;
    return playMainJob({
      host: { baseUrl: host.url + key },
      guests: { baseUrl: guests.url + key },
      guestCount: 2,
    });
  });
  for (const report of await Promise.all(teams)) expectAllWell(report, 2);
});

function expectAllWell(report: MainJobReport, guestCount: number): void {
  const guests = Array.from({ length: guestCount }, (_, index) => `Guest ${index + 1}`);
  const everybody = ["Host", ...guests];
  expect(report.joinRequests).toEqual(guests);
  expect(report.answers).toEqual({
    Host: "Guest 1:src/main.ts",
    ...Object.fromEntries(guests.map((name) => [name, "Host:src/main.ts"])),
  });
  expect(report.told["Host"]).toEqual(guests.map((name) => `${name}: for the host only`));
  for (const name of everybody) {
    const others = everybody.filter((other) => other !== name);
    expect(report.heard[name]).toEqual(others.map((other) => `${other}: for everybody`).sort());
    expect(new Set(report.documents[name]).size).toBe(3 * everybody.length);
  }
  expect(report.documentsEqual).toBe(true);
  expect(report.sawClose).toEqual(guests.slice(1));
}

// --- placement ---

test("sessions are distributed over all workers, and each is on one", async () => {
  const sessionIds: string[] = [];
  const open = async (): Promise<void> => {
    const { url } = sessionIds.length % 2 === 0 ? first : second;
    sessionIds.push((await openSession({ baseUrl: url, guestCount: 0 })).sessionId);
  };
  for (let count = 0; count < 18; count++) await open();
  // A worker whose event loop is late, as on a busy machine, gets none meanwhile. How many each gets of those that are on time:
  // placement.test.ts.
  await until("every worker has sessions", async () => {
    const hosted = await Promise.all(cluster.workers.map(sessionsOf));
    if (hosted.every((sessions) => sessions.length > 0)) return true;
    await open();
    return false;
  });
  const hosted = await Promise.all(cluster.workers.map(sessionsOf));
  for (const id of sessionIds) {
    expect(hosted.filter((sessions) => sessions.includes(id))).toHaveLength(1);
  }
});

// --- coming and going ---

test("a worker is in every ring at most 1.5 s after it is ready, and removed at once when it ends", async () => {
  const before = cluster.workers.map(({ id }) => id);
  const late = await cluster.addWorker();
  for (const balancer of [first, second]) {
    await sees(balancer, 4);
    expect(performance.now() - late.readyMs).toBeLessThan(
      machine.limitMs(late.readyMs, { promisedMs: 1500, waitsMs: 1000 }),
    );
  }
  expect(await ringOf(first)).toBe(await ringOf(second));

  const goneMs = await late.stop();
  for (const balancer of [first, second]) {
    await until(
      "the worker is gone",
      async () => (await workersSeenBy(balancer)).length === before.length,
    );
    // Far less than a poll's second: the withdrawal itself was received.
    machine.expectWithin(goneMs, { promisedMs: 500 });
  }
  expect(await workersSeenBy(first)).toEqual(before);
});

async function ringOf(balancer: Member): Promise<unknown> {
  return (await balancer.view())["ring"];
}
