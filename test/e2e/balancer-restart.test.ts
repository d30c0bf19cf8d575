/**
 * Both balancers are replaced, one after the other, behind a proxy that checks their health, while people type and programs
 * send requests: no client is lost, no request fails, every message arrives exactly once.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { quantile } from "../support/churn.ts";
import { type Cluster, type Member, sees, startCluster } from "../support/cluster.ts";
import { type Line, openLine } from "../support/cut.ts";
import { startTraffic } from "../support/steady-traffic.ts";
import {
  equalAfter,
  heardTwice,
  missing,
  openTeams,
  type Teams,
  whatTheyKnow,
} from "../support/teams.ts";
import { until } from "../support/until.ts";

/** Interval of the proxy's health checks; the usual 2 s of HAProxy and nginx would only make the test longer. */
const ASK_MS = 100;

let cluster: Cluster;
let front: Line;
let all: Teams;
let ready: readonly Member[] = [];
let asking: NodeJS.Timeout;

beforeAll(async () => {
  cluster = await startCluster({ workers: 2, balancers: 2 });
  asking = setInterval(() => void askAll(), ASK_MS);
  await until("the front sees both", () => ready.length === 2);
  let turn = 0;
  front = await openLine(() => {
    turn++;
    return ready.map((_, index) => ready[(index + turn) % ready.length]?.port ?? 0);
  });
  const url = `http://127.0.0.1:${front.port}`;
  all = await openTeams({ count: 6, guests: 2, url: () => url });
}, 60_000);

afterAll(async () => {
  clearInterval(asking);
});

async function askAll(): Promise<void> {
  // A copy: the list changes during the checks.
  const asked = [...cluster.balancers];
  const wants = await Promise.all(asked.map(wantsTraffic));
  ready = asked.filter((_, index) => wants[index]);
}

async function wantsTraffic({ statusPort }: Member): Promise<boolean> {
  const answer = await fetch(`http://127.0.0.1:${statusPort}/health/ready`).catch(() => undefined);
  await answer?.body?.cancel();
  return answer?.status === 200;
}

async function owners(): Promise<unknown[]> {
  const admin = cluster.redis.admin();
  return Promise.all(
    all.teams.map(({ sessionId }) => admin.hmget(`{ct}:session:${sessionId}`, "owner", "epoch")),
  );
}

test("replacing both balancers under traffic loses no client, fails no request, and every message arrives exactly once", async () => {
  const known = whatTheyKnow(all.clients);
  const before = await owners();
  const traffic = await startTraffic([`http://127.0.0.1:${front.port}`]);
  all.startTyping(1000);
  const sinceMs = performance.now();

  for (const balancer of [...cluster.balancers]) {
    await balancer.stop();
    expect(balancer.child.exitCode).toBe(0);
    cluster.balancers.splice(cluster.balancers.indexOf(balancer), 1);
    await sees(await cluster.addBalancer(), 2);
    await until("the front sees both", () => ready.length === 2);
  }
  await until("everybody is back", () => all.clients.every((client) => client.isServed));
  await all.stopTyping();
  await equalAfter(all.teams, performance.now(), 15_000);

  expect(await traffic.stop()).toEqual([]);
  expect(whatTheyKnow(all.clients)).toEqual(known);
  expect(heardTwice(all.clients)).toEqual([]);
  // The package decrypts concurrently: documents may be equal before the last message arrives.
  await until("everybody has heard everything", () => missing(all.teams).length === 0).catch(() =>
    expect(missing(all.teams)).toEqual([]),
  );
  // Sessions stay where they are.
  expect(await owners()).toEqual(before);
  const pauses = all.clients.flatMap((client) => client.pausesSince(sinceMs));
  // Each client was disconnected by the first or the second replacement, or by both.
  expect(pauses.length).toBeGreaterThanOrEqual(all.clients.length);
  process.stdout.write(
    `${traffic.answered} requests; ${pauses.length} pauses, p50 ${Math.round(quantile(pauses, 0.5))} ms, ` +
      `p99 ${Math.round(quantile(pauses, 0.99))} ms\n`,
  );
}, 60_000);
