/**
 * Workers are drained and upgraded while people type: no client is lost, no message is duplicated or missing.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { systemClock } from "../../shared/base/clock.ts";
import type { WorkerId } from "../../shared/base/ids.ts";
import { sendCommand } from "../../shared/control/send.ts";
import { createCounters } from "../../shared/metrics/metrics.ts";
import { parseRedisUrl } from "../../shared/store/redis/connection/target.ts";
import { connectRedisStore } from "../../shared/store/redis/store.ts";
import type { Store } from "../../shared/store/store.ts";
import { type Churn, peersOf, startChurn } from "../support/churn.ts";
import type { Client } from "../support/clients.ts";
import { type Member, sees } from "../support/cluster.ts";
import { runCommand } from "../support/command.ts";
import { silentLog } from "../support/logs.ts";
import { equalAfter, heardTwice, missing, whatTheyKnow } from "../support/teams.ts";
import { until } from "../support/until.ts";

/** A client that waits longer is stuck: clients give up after 30 s. */
const HANG_MS = 60_000;

let churn: Churn;
let store: Store;
let known: unknown;

beforeAll(async () => {
  churn = await startChurn({ teams: 8, guests: 2, typingMs: 1000 });
  known = whatTheyKnow(churn.all.clients);
  store = connectRedisStore({
    target: parseRedisUrl(churn.cluster.redisUrl),
    prefix: "{ct}:",
    name: "operator",
    clock: systemClock,
    log: silentLog(),
    counters: createCounters(),
  });
}, 300_000);

afterAll(async () => {
  await store?.close();
  await churn?.close();
});

/** All clients are in session, and none was notified of an event that did not happen. */
async function nothingHappened(): Promise<void> {
  const { all } = churn;
  await all.stopTyping();
  await equalAfter(all.teams, performance.now(), HANG_MS);
  await until(
    "everybody has heard everything",
    () => missing(all.teams).length === 0,
    HANG_MS,
  ).catch(() => expect(missing(all.teams)).toEqual([]));
  expect(heardTwice(all.clients)).toEqual([]);
  expect(whatTheyKnow(all.clients)).toEqual(known);
}

/** Those of `clients` that have lost their connection since `sinceMs`. */
function disturbed(clients: readonly Client[], sinceMs: number): string[] {
  return clients
    .filter(({ lostMs }) => lostMs.some((lost) => lost >= sinceMs))
    .map(({ name }) => name);
}

test("a drained worker moves its sessions to others, nobody is disconnected, and no message is lost, duplicated or reordered", async () => {
  const { worker, teams } = await churn.busiest();
  const { all } = churn;
  churn.startTyping();
  const sinceMs = performance.now();
  const answer = await sendCommand({ store, clock: systemClock }, worker.id as WorkerId, {
    kind: "drain",
  });
  expect(answer).toMatchObject({ outcome: "done" });
  await until("it has no session", async () => (await churn.teamsOf(worker)).length === 0, HANG_MS);
  await until("everybody is back", () => all.clients.every((client) => client.isServed), HANG_MS);
  await nothingHappened();
  expect(disturbed(peersOf(teams), sinceMs)).toEqual([]);

  // It accepts new sessions again after a resume.
  expect(
    await sendCommand({ store, clock: systemClock }, worker.id as WorkerId, { kind: "resume" }),
  ).toMatchObject({ outcome: "done" });
}, 300_000);

test("replacing all workers one after the other under traffic disconnects nobody", async () => {
  const { cluster, all } = churn;
  churn.startTyping();
  const sinceMs = performance.now();
  for (const [number, worker] of [...cluster.workers].entries()) {
    await cluster.addWorker({ env: { CT_WORKER_ID: `upgraded-${number}` } });
    for (const balancer of cluster.balancers) await sees(balancer, 4);
    await stopInOrder(worker);
    cluster.workers.splice(cluster.workers.indexOf(worker), 1);
    for (const balancer of cluster.balancers) await sees(balancer, 3);
  }
  await until("everybody is back", () => all.clients.every((client) => client.isServed), HANG_MS);
  await nothingHappened();
  expect(disturbed(all.clients, sinceMs)).toEqual([]);
}, 300_000);

test("a drain of the last worker that accepts sessions is refused with the reason", async () => {
  const [first, ...others] = churn.cluster.workers;
  const send = (worker: Member | undefined, kind: "drain" | "suspend" | "resume") =>
    sendCommand({ store, clock: systemClock }, worker?.id as WorkerId, { kind });
  for (const other of others)
    expect(await send(other, "suspend")).toMatchObject({ outcome: "done" });
  const { worker } = await churn.busiest();
  if (worker !== first) {
    expect(await send(worker, "resume")).toMatchObject({ outcome: "done" });
    expect(await send(first, "suspend")).toMatchObject({ outcome: "done" });
  }
  expect(await send(worker, "drain")).toMatchObject({
    outcome: "refused",
    message: expect.stringContaining("no other worker accepts sessions") as string,
  });
  await nothingHappened();
  for (const member of churn.cluster.workers) {
    expect(await send(member, "resume")).toMatchObject({ outcome: "done" });
  }
}, 300_000);

test("a drain whose target is killed in the middle loses no session, and a second drain joins it", async () => {
  const { worker } = await churn.busiest();
  const { all, cluster } = churn;
  churn.startTyping();
  const drain = () =>
    sendCommand({ store, clock: systemClock }, worker.id as WorkerId, { kind: "drain" });
  expect(await drain()).toMatchObject({ outcome: "done" });
  expect(await drain()).toMatchObject({
    outcome: "done",
    message: expect.stringMatching(
      /^the worker is already draining; \d+ sessions are left$/,
    ) as string,
  });
  const target = cluster.workers.find((other) => other !== worker) as Member;
  await target.kill();
  await until("it has no session", async () => (await churn.teamsOf(worker)).length === 0, HANG_MS);
  await until("everybody is back", () => all.clients.every((client) => client.isServed), HANG_MS);
  await all.stopTyping();
  await equalAfter(all.teams, performance.now(), HANG_MS);
  expect(heardTwice(all.clients)).toEqual([]);
  expect(whatTheyKnow(all.clients)).toEqual(known);
  await churn.replace(target);
  expect(
    await sendCommand({ store, clock: systemClock }, worker.id as WorkerId, { kind: "resume" }),
  ).toMatchObject({ outcome: "done" });
}, 300_000);

test("a drain of an unknown worker is refused, and the error lists the workers", async () => {
  const env = { CT_REDIS_URL: churn.cluster.redisUrl };
  const { status, stdout, stderr } = await runCommand(["drain", "no-such-worker"], env);
  expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
  expect(stderr).toMatch(/^ct-edge: there is no worker no-such-worker; workers are .*\n$/);
  for (const { id } of churn.cluster.workers) expect(stderr).toContain(id);
});

test("a worker that is killed during its drain loses no session", async () => {
  const { worker, teams } = await churn.busiest();
  const { all } = churn;
  churn.startTyping();
  expect(
    await sendCommand({ store, clock: systemClock }, worker.id as WorkerId, { kind: "drain" }),
  ).toMatchObject({ outcome: "done" });
  await worker.kill();
  churn.cluster.workers.splice(churn.cluster.workers.indexOf(worker), 1);
  await until(
    "everybody is back",
    () => peersOf(teams).every((client) => client.isServed),
    HANG_MS,
  );
  await all.stopTyping();
  await equalAfter(all.teams, performance.now(), HANG_MS);
  expect(heardTwice(all.clients)).toEqual([]);
  expect(whatTheyKnow(all.clients)).toEqual(known);
}, 300_000);

async function stopInOrder(worker: Member): Promise<void> {
  await worker.stop();
  expect(worker.child.exitCode).toBe(0);
}
