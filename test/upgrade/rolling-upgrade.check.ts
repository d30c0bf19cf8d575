/**
 * A former version and this one side by side: people type in sessions of unmodified clients while all processes are replaced by
 * those of the other version, forwards and back. FORMER_VERSION: a built copy of the former one (run.mjs).
 */
import { expect, test } from "vitest";
import { type Cluster, type Member, sees, startCluster } from "../support/cluster.ts";
import { startEdge } from "../support/edge-process.ts";
import { type Front, startFront } from "../support/front.ts";
import {
  equalAfter,
  heardTwice,
  missing,
  openTeams,
  type Teams,
  whatTheyKnow,
} from "../support/teams.ts";
import { until } from "../support/until.ts";

const former = process.env["FORMER_VERSION"] ?? "";
const VERSIONS = { former: { folder: former }, present: {} } as const;
type Version = keyof typeof VERSIONS;

const TYPING_MS = 400;
const WAIT_MS = 60_000;

test("sessions go on, with the same people and all messages, while every process is replaced by one of the present version, and back", async () => {
  const cluster = await startCluster({
    workers: 0,
    balancers: 0,
    env: { CT_DRAIN_DELAY_MS: "0" },
  });
  const before = await addProcesses(cluster, "former");
  const front = await startFront(before.balancer.port);
  const all = await openTeams({ count: 4, guests: 2, url: () => front.url });
  const known = whatTheyKnow(all.clients);
  all.startTyping(TYPING_MS);

  const upgraded = await replace({ cluster, front, all }, before, "present");
  await replace({ cluster, front, all }, upgraded, "former");

  await all.stopTyping();
  await equalAfter(all.teams, performance.now(), WAIT_MS);
  expect(missing(all.teams)).toEqual([]);
  expect(heardTwice(all.clients)).toEqual([]);
  expect(whatTheyKnow(all.clients)).toEqual(known);
});

test("an edge of one machine continues the sessions that the former version has journalled", async () => {
  const old = await startEdge({ root: former });
  const all = await openTeams({ count: 2, guests: 1, url: () => old.httpUrl });
  const known = whatTheyKnow(all.clients);
  all.startTyping(TYPING_MS);
  // Who has sent nothing yet is announced again.
  await until("each has said something", () =>
    all.clients.every(({ spoken }) => spoken.length > 1),
  );
  expect(await old.stop()).toMatchObject({ status: 0 });

  const ports = { CT_PORT: String(old.httpPort), CT_TLS_PORT: String(old.tlsPort) };
  const edge = await startEdge({ dataDir: old.dataDir, env: ports });

  await until(
    "all are in their sessions",
    () => all.clients.every(({ isServed }) => isServed),
    WAIT_MS,
  );
  await all.stopTyping();
  await equalAfter(all.teams, performance.now(), WAIT_MS);
  expect(whatTheyKnow(all.clients)).toEqual(known);
  expect(edge.output()).not.toMatch(/invalid|corrupt|cannot be read/);
});

interface Processes {
  readonly workers: readonly Member[];
  readonly balancer: Member;
}

async function addProcesses(cluster: Cluster, version: Version): Promise<Processes> {
  const { folder } = { folder: undefined, ...VERSIONS[version] };
  const own = folder === undefined ? {} : { folder };
  const workers: Member[] = [];
  for (let count = 0; count < 2; count++) workers.push(await cluster.addWorker(own));
  return { workers, balancer: await cluster.addBalancer(own) };
}

/** New processes beside the old ones; then the workers of the old version drain, and its balancer goes. */
async function replace(
  {
    cluster,
    front,
    all,
  }: { readonly cluster: Cluster; readonly front: Front; readonly all: Teams },
  old: Processes,
  version: Version,
): Promise<Processes> {
  const processes = await addProcesses(cluster, version);
  await sees(processes.balancer, 4);
  for (const worker of old.workers) await worker.stop();
  front.leadTo(processes.balancer.port);
  await old.balancer.stop();
  await until(
    `all are served by the ${version} version`,
    () => all.clients.every((client) => client.isServed && client.isOnWebSocket),
    WAIT_MS,
  );
  await sees(processes.balancer, 2);
  return processes;
}
