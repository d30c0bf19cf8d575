/** Webhooks over real workers and Redis, with unmodified clients. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { sessionName } from "../../shared/activity/event.ts";
import type { SessionId } from "../../shared/base/ids.ts";
import { Client } from "../support/clients.ts";
import { type Cluster, sees, startCluster } from "../support/cluster.ts";
import { runCommand } from "../support/command.ts";
import { startEdge } from "../support/edge-process.ts";
import { person } from "../support/people.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";
import {
  newSecret,
  type Received,
  startWebhookReceiver,
  type WebhookReceiver,
} from "../support/webhook-receiver.ts";

interface Rig {
  readonly cluster: Cluster;
  readonly receiver: WebhookReceiver;
  readonly file: string;
  readonly url: string;
  /** For commands. */
  readonly env: Readonly<Record<string, string>>;
}

async function startRig(workers: number): Promise<Rig> {
  const folder = tempFolder();
  const file = join(folder, "webhooks.yaml");
  const receiver = await startWebhookReceiver();
  writeReceivers(file, receiver.url, receiver.secret);
  const env = { CT_WEBHOOKS: file, CT_WEBHOOK_NETWORKS: "127.0.0.0/8" };
  const cluster = await startCluster({
    ...{ workers, balancers: 1, env: { ...env, CT_MAX_SESSIONS_PER_USER: "100" } },
    redis: { lines: ["appendonly yes", "appendfsync everysec"] },
  });
  const url = cluster.balancers[0]?.url ?? "";
  return { cluster, receiver, file, url, env: { ...env, CT_REDIS_URL: cluster.redisUrl } };
}

function writeReceivers(file: string, url: string, ...secrets: readonly string[]): void {
  writeFileSync(file, JSON.stringify({ receivers: [{ name: "test", url, secrets }] }));
}

const kindsOf = (events: readonly Received[]): string[] => events.map(({ kind }) => kind);

test("what people do comes as signed events, in order; commands show the state; a secret can be rotated without a restart", async () => {
  const { receiver, url, env, file, cluster } = await startRig(2);
  const host = person({ baseUrl: url, name: "Ada" });
  const sessionId = (await host.host()) as SessionId;
  const guest = person({ baseUrl: url, name: "Grace" });
  await guest.join(sessionId);
  const { id: guestId } = guest;
  await guest.leave();
  await until("the guest has left", () => host.left.length === 1);
  await host.leave();
  const session = sessionName(sessionId);
  const ofSession = (): Received[] => receiver.events.filter((one) => one.session === session);
  await until("the end has come", () => kindsOf(ofSession()).includes("session.closed"));
  expect(kindsOf(ofSession())).toEqual([
    ...["session.created", "peer.joined", "join.asked", "join.approved", "peer.joined"],
    // First the guest, then the host with the session.
    ...["peer.left", "peer.left", "session.closed"],
  ]);
  expect(ofSession()[5]).toMatchObject({ id: `${session}/peer.left/${guestId}` });
  expect(kindsOf(receiver.events).filter((kind) => kind === "sign-in")).toHaveLength(2);
  expect(receiver.problems).toEqual([]);

  const shown = await until("the state is reported", async () => {
    const { stdout } = await runCommand(["webhooks", "--json"], env);
    const answer = JSON.parse(stdout);
    return answer.receivers?.[0]?.backlog === 0 && answer;
  });
  expect(shown).toMatchObject({
    pending: 0,
    problems: [],
    receivers: [{ name: "test", state: "ok" }],
  });
  const tested = await runCommand(["webhooks", "test"], env);
  expect(tested.stdout).toMatch(/^test: accepted with status 204 in \d+ ms\n$/);
  expect(receiver.events.at(-1)?.kind).toBe("test");

  const young = await startWebhookReceiver({ secret: newSecret() });
  writeReceivers(file, young.url, young.secret, receiver.secret);
  await until("all workers have read it", () =>
    cluster.workers.every((worker) => worker.output().includes("the receivers were read again")),
  );
  await person({ baseUrl: url, name: "Lin" }).host();
  await until("it comes to the new URL", () => kindsOf(young.events).includes("session.created"));
  expect(young.problems).toEqual([]);
  // What the receiver has is not sent again to its new URL.
  expect(young.events.filter((one) => one.session === session)).toEqual([]);
});

test("without CT_WEBHOOKS, nothing of webhooks is in the store or in a worker", async () => {
  const cluster = await startCluster({ workers: 1, balancers: 1 });
  await person({ baseUrl: cluster.balancers[0]?.url ?? "", name: "Ada" }).host();
  const keys = await cluster.redis.admin().keys("*webhook*");
  expect(keys).toEqual([]);
  expect(cluster.workers[0]?.output()).not.toContain("webhook");
});

test("on one machine, events outlive the whole edge: after a start, the receiver gets what it does not have", async () => {
  const folder = tempFolder();
  const file = join(folder, "webhooks.json");
  const receiver = await startWebhookReceiver();
  // Nothing listens there.
  writeReceivers(file, "http://127.0.0.1:1/", receiver.secret);
  const env = { CT_WEBHOOKS: file, CT_WEBHOOK_NETWORKS: "127.0.0.1", CT_LOGIN_SIMPLE: "on" };
  const first = await startEdge({ env, dataDir: folder });
  const sessionId = (await person({ baseUrl: first.httpUrl, name: "Ada" }).host()) as SessionId;
  await first.dispose();
  writeReceivers(file, receiver.url, receiver.secret);
  await startEdge({ env, dataDir: folder });
  const session = sessionName(sessionId);
  await until("the event has come", () =>
    receiver.events.some(({ id }) => id === `${session}/session.created/1`),
  );
  expect(receiver.problems).toEqual([]);
});

// --- faults ---

/** The figure: 20. */
const KILLS = Number(process.env["WEBHOOK_KILLS"] ?? 20);
const TEAMS = 4;
/** A guest who was lost with a worker has 30 s to return. */
const LEFT_MS = 90_000;

interface Team {
  readonly sessionId: SessionId;
  /** As events name it. */
  readonly session: string;
  readonly host: Client;
  /** Peer ids of the guests who were in the session, in their order. */
  readonly guests: string[];
}

test("a receiver that fails 30 % of the time gets every event in order by session, while owners are killed and Redis restarts", async () => {
  const { cluster, receiver, url } = await startRig(3);
  receiver.failing = 0.3;
  const teams = await Promise.all(
    Array.from({ length: TEAMS }, async (_, index): Promise<Team> => {
      const host = person({ baseUrl: url, name: `Host ${index}` });
      const sessionId = (await host.host()) as SessionId;
      return { sessionId, session: sessionName(sessionId), host, guests: [] };
    }),
  );
  let isOver = false;
  const visits = teams.map((team) => visitUntil(team, url, () => isOver));
  const kinds = { redis: 0, workers: 0 };
  for (let kill = 1; kill <= KILLS; kill++) {
    const before = teams.map(({ guests }) => guests.length);
    if (kill % 7 === 0) {
      await cluster.redis.kill();
      await cluster.redis.start();
      kinds.redis++;
    } else {
      await killOwner(cluster, kill);
      kinds.workers++;
    }
    await until(
      `guests come in again after ${kill} kills`,
      () => teams.every(({ guests }, index) => guests.length > (before[index] ?? 0)),
      60_000,
    );
  }
  // Restarts of Redis are not among the owners.
  while (kinds.workers < KILLS) {
    await killOwner(cluster, kinds.workers++);
  }
  isOver = true;
  await Promise.all(visits);

  const missing = (ids: readonly string[]): string[] => {
    const has = new Set(receiver.events.map(({ id }) => id));
    return ids.filter((id) => !has.has(id));
  };
  const visitIds = teams.flatMap(({ session, guests }) =>
    guests.flatMap((id) => [`${session}/peer.joined/${id}`, `${session}/peer.left/${id}`]),
  );
  // A guest who is away when a session ends does not leave it before.
  await until("every guest has come and left", () => missing(visitIds).length === 0, LEFT_MS).catch(
    () => expect(missing(visitIds)).toEqual([]),
  );
  for (const { host } of teams) await host.leave();
  const expected = [
    ...visitIds,
    ...teams.map(({ session }) => `${session}/session.created/1`),
    ...teams.map(({ session }) => `${session}/session.closed/1`),
  ];
  await until("every session has ended", () => missing(expected).length === 0, LEFT_MS);
  for (const team of teams) expectOrder(team, receiver.events);
  expect(receiver.problems).toEqual([]);
  expect(new Set(receiver.events.map(({ id }) => id)).size).toBe(receiver.events.length);
  process.stdout.write(
    `webhooks: ${kinds.workers} workers killed, Redis restarted ${kinds.redis} times: ${expected.length} expected events of ${receiver.events.length}, ${receiver.requests} requests, ${receiver.duplicates} duplicates\n`,
  );
}, 400_000);

/** Guests come and go, one after the other. A visit that fails is not counted, and its events may come or not. */
async function visitUntil(
  { guests, sessionId, session }: Team,
  baseUrl: string,
  isOver: () => boolean,
): Promise<void> {
  for (let count = 1; !isOver(); count++) {
    const guest = new Client({
      baseUrl,
      name: `Guest ${count} of ${session}`,
      retryRequestsMs: 15_000,
    });
    try {
      await guest.join(sessionId);
      guests.push(guest.id);
      await guest.leave();
    } catch {
      // Its worker was killed, or the store was away.
    } finally {
      await guest.close();
    }
  }
}

/** Kills a worker that owns sessions, and starts one with its name. */
async function killOwner(cluster: Cluster, turn: number): Promise<void> {
  const owners = (await cluster.redis.admin().zrange("{ct}:owners", "0", "-1")).sort();
  const found = owners.length === 0 ? undefined : owners[turn % owners.length];
  const index = Math.max(
    0,
    cluster.workers.findIndex(({ id }) => id === found),
  );
  const [worker] = cluster.workers.splice(index, 1);
  if (worker === undefined) throw new Error("there is no worker");
  await worker.kill();
  await cluster.addWorker({ env: { CT_WORKER_ID: worker.id } });
  for (const balancer of cluster.balancers) await sees(balancer, cluster.workers.length);
}

/** The session begins, guests come in the order in which they did, each leaves after it came, and then the session ends. */
function expectOrder({ session, guests }: Team, events: readonly Received[]): void {
  const ids = events.filter((one) => one.session === session).map(({ id }) => id);
  expect(ids[0]).toBe(`${session}/session.created/1`);
  const joined = guests.map((id) => ids.indexOf(`${session}/peer.joined/${id}`));
  expect(joined).toEqual([...joined].sort((a, b) => a - b));
  for (const [index, id] of guests.entries()) {
    expect(ids.indexOf(`${session}/peer.left/${id}`)).toBeGreaterThan(joined[index] ?? 0);
  }
  const closedAt = ids.indexOf(`${session}/session.closed/1`);
  expect(closedAt).toBeGreaterThan(Math.max(...joined));
}
