/**
 * Many machines: unmodified clients share sessions through one and through two balancers, with three workers and Redis.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  type Cluster,
  type Member,
  sees,
  startCluster,
  workersSeenBy,
} from "../support/cluster.ts";
import { watchMachine } from "../support/machine.ts";
import { type MainJobReport, playMainJob } from "../support/main-job.ts";
import { openSession } from "../support/people.ts";
import { until } from "../support/until.ts";

const machine = watchMachine();

let cluster: Cluster;
let first: Member;
let second: Member;

beforeAll(async () => {
  cluster = await startCluster({ workers: 3, balancers: 2 });
  [first, second] = cluster.balancers as [Member, Member];
});

afterAll(() => cluster.dispose());

// --- the main job ---

test("ten people do the main job through one balancer", async () => {
  const at = { baseUrl: first.url };
  expectAllWell(await playMainJob({ host: at, guests: at, guestCount: 9 }), 9);
});

test.each([
  ["no key", {}],
  ["a ctstickiness header", { headers: { ctstickiness: "team=blue; sprint 7" } }],
])("host and guests do it through different balancers with %s", async (_name, more) => {
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
  // Balancers learn of each other's creates with the next heartbeat only, so a few sessions may still go to the same worker.
  for (let count = 0; count < 18; count++) {
    const { url } = count % 2 === 0 ? first : second;
    sessionIds.push((await openSession({ baseUrl: url, guestCount: 0 })).sessionId);
  }
  const hosted = await Promise.all(cluster.workers.map(sessionsOf));
  for (const sessions of hosted) {
    expect(sessions.length).toBeGreaterThan(0);
    expect(sessions.length).toBeLessThan(14);
  }
  for (const id of sessionIds) {
    expect(hosted.filter((sessions) => sessions.includes(id))).toHaveLength(1);
  }
});

async function sessionsOf(worker: Member): Promise<string[]> {
  const { sessions } = (await worker.view()) as { sessions: { id: string }[] };
  return sessions.map(({ id }) => id);
}

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
    expect(performance.now() - goneMs).toBeLessThan(machine.limitMs(goneMs, { promisedMs: 500 }));
  }
  expect(await workersSeenBy(first)).toEqual(before);
});

async function ringOf(balancer: Member): Promise<unknown> {
  return (await balancer.view())["ring"];
}

// --- idle ---

test("three idle workers and two idle balancers make three calls to Redis a second each, the leader a few more", {
  timeout: 90_000,
}, async () => {
  const admin = cluster.redis.admin();
  const look = async () => {
    const stats = await admin.info("commandstats");
    const [, calls = "0"] = /cmdstat_evalsha:calls=(\d+)/.exec(stats) ?? [];
    const [seconds = 0, micros = 0] = await admin.time();
    return { calls: Number(calls), seconds: Number(seconds) + Number(micros) / 1e6 };
  };
  // Sessions of the previous tests are still being closed.
  let before = await look();
  const perSecond = await until(
    "ten seconds of rest",
    async () => {
      const now = await look();
      const seconds = now.seconds - before.seconds;
      if (seconds < 10) return undefined;
      const found = (now.calls - before.calls) / seconds;
      before = now;
      return found <= 5 * 3 + 3 ? found : undefined;
    },
    60_000,
  );
  expect(perSecond).toBeGreaterThan(5);
});
