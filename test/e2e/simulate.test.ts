/**
 * `ct-edge simulate` compared with the real change: with whole processes, unmodified clients and Redis.
 */
import { beforeAll, expect, test } from "vitest";
import type { SimulateAnswer } from "../../edge/commands/cluster/simulate.ts";
import { runSimulation } from "../../edge/simulate/run-simulation.ts";
import type { Change, Simulation } from "../../edge/simulate/simulate.ts";
import type { SessionId, WorkerId } from "../../shared/base/ids.ts";
import { parseView } from "../../shared/cluster/status-reports.ts";
import type { Store } from "../../shared/store/store.ts";
import { type Cluster, type Member, sees, startCluster } from "../support/cluster.ts";
import { runCommand } from "../support/command.ts";
import { openStore } from "../support/redis.ts";
import { openTeams, type Teams } from "../support/teams.ts";
import { until } from "../support/until.ts";

/** Enough that each of three workers almost always has one. */
const TEAMS = 7;

let cluster: Cluster;
let store: Store;
let all: Teams;

beforeAll(async () => {
  cluster = await startCluster({ workers: 3, balancers: 1 });
  store = openStore(cluster.redisUrl).store;
  const url = cluster.balancers[0]?.url ?? "";
  all = await openTeams({ count: TEAMS, guests: 1, url: () => url });
}, 120_000);
/** The same as the command, without the start of a process. */
async function simulated(change: Change): Promise<Simulation> {
  const drain = { delayMs: 1000, timeoutMs: 60_000 };
  return (await runSimulation(store, change, drain)).simulation;
}

/** The owner of each session now. */
async function owners(): Promise<Map<string, string>> {
  const records = await Promise.all(
    all.teams.map(({ sessionId }) => store.findSession(sessionId as SessionId)),
  );
  return new Map(records.map((record) => [String(record?.id), String(record?.owner)]));
}

/** `before` with the moves of `answer`. */
function expected(before: ReadonlyMap<string, string>, { moves }: Simulation) {
  const to = new Map<string, string>(moves.map((move) => [move.session, move.to.join(" or ")]));
  return new Map([...before].map(([id, owner]) => [id, to.get(id) ?? owner]));
}

/** A worker with sessions. */
async function busy(): Promise<Member> {
  const counts = new Map<string, number>();
  for (const owner of (await owners()).values()) counts.set(owner, (counts.get(owner) ?? 0) + 1);
  const [most] = [...counts].sort(([, a], [, b]) => b - a);
  const worker = cluster.workers.find(({ id }) => id === most?.[0]);
  if (worker === undefined) throw new Error("no worker has a session");
  return worker;
}

/** All clients are connected, and the owner of each session has reported it. */
async function settled(): Promise<void> {
  await until("all clients are back", () => all.clients.every((client) => client.isServed), 30_000);
  await until(
    "owners report all clients",
    async () => {
      const [reports, owned] = await Promise.all([store.list("view"), owners()]);
      return all.teams.every(({ sessionId, everybody }) => {
        const view = parseView(reports[owned.get(sessionId) ?? ""] ?? "");
        if (view?.role !== "worker") return false;
        const seen = view.sessions.find(({ id }) => id === sessionId);
        return seen?.connected.length === everybody.length;
      });
    },
    30_000,
  );
}

test("simulate --add names no moves, and no session moves then", async () => {
  await settled();
  const before = await owners();
  const { stdout, stderr, status } = await runCommand([
    ...["simulate", "--json", "--add", "1"],
    ...["--redis", cluster.redisUrl],
  ]);
  expect({ stderr, status }).toEqual({ stderr: "", status: 0 });
  const answer = JSON.parse(stdout) as SimulateAnswer;
  expect(answer.moves).toEqual([]);
  expect(answer.stay).toBe(TEAMS);
  const added = answer.workers.find(({ sessions }) => sessions.before === null);
  expect(added).toMatchObject({ id: "worker-4", sessions: { after: 0 } });
  // It has no session yet, so new ones without a key go there first.
  expect(added?.next.after).toBeGreaterThan(25);
  await cluster.addWorker();
  for (const balancer of cluster.balancers) await sees(balancer, 4);
  for (const { everybody } of all.teams) {
    const [speaker] = everybody;
    await speaker?.say("still here");
  }
  expect(await owners()).toEqual(before);
  expect(all.clients.map(({ reconnectCount }) => reconnectCount)).toEqual(all.clients.map(() => 0));
}, 90_000);

test("simulate --remove names the workers to which the drain hands the sessions", async () => {
  await settled();
  const worker = await busy();
  const before = await owners();
  const answer = await simulated({ kind: "remove", worker: worker.id as WorkerId });
  const own = [...before].filter(([, owner]) => owner === worker.id).map(([id]) => id);
  expect(answer.moves.map(({ session }) => session as string).sort()).toEqual(own.sort());
  await worker.stop();
  cluster.workers.splice(cluster.workers.indexOf(worker), 1);
  await settled();
  expect(await owners()).toEqual(expected(before, answer));
}, 90_000);

test("simulate --crash names exactly the sessions that move, and the workers that get them", async () => {
  await settled();
  const worker = await busy();
  const before = await owners();
  const answer = await simulated({ kind: "crash", worker: worker.id as WorkerId });
  const own = [...before].filter(([, owner]) => owner === worker.id).map(([id]) => id);
  expect(answer.moves.map(({ session }) => session as string).sort()).toEqual(own.sort());
  expect(answer.reconnects.connections).toBe(2 * own.length);
  await worker.kill();
  cluster.workers.splice(cluster.workers.indexOf(worker), 1);
  await until(
    "somebody else has them",
    async () => ![...(await owners()).values()].includes(worker.id),
    30_000,
  );
  await settled();
  expect(await owners()).toEqual(expected(before, answer));
}, 90_000);

test("a change that cannot be simulated fails with one line and status 1", async () => {
  const args = ["simulate", "--crash", "worker-9", "--redis", cluster.redisUrl];
  const { status, stderr } = await runCommand(args);
  expect(stderr).toMatch(/^ct-edge: there is no worker worker-9; workers are worker-[^\n]*\n$/);
  expect(status).toBe(1);
});
