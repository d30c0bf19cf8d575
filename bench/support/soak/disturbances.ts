/** What happens to the processes of the long haul, one after the other, in an order that a seed repeats. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Redis } from "ioredis";
import type { Random } from "../../../test/model/random.ts";
import { type Cluster, type Member, sees } from "../../../test/support/cluster.ts";
import { until } from "../../../test/support/until.ts";

export interface Stage {
  readonly cluster: Cluster;
  readonly admin: Redis;
  readonly random: Random;
}

interface Disturbance {
  readonly name: string;
  /** Resolves when all processes run again. */
  readonly run: (stage: Stage) => Promise<void>;
}

const AWAY_MS = 5000;

export const DISTURBANCES: readonly Disturbance[] = [
  {
    name: "worker killed",
    run: (stage) => replaceWorker(stage, (worker) => worker.kill()),
  },
  {
    name: "worker drained and restarted",
    run: (stage) => replaceWorker(stage, (worker) => worker.stop()),
  },
  {
    name: "balancer restarted",
    run: (stage) => replaceBalancer(stage, (balancer) => balancer.stop()),
  },
  {
    name: "balancer killed",
    run: (stage) => replaceBalancer(stage, (balancer) => balancer.kill()),
  },
  { name: "Redis restarted, data kept", run: restartWithData },
  { name: "Redis restarted, empty", run: restartEmpty },
  { name: "Redis hangs for 5 s", run: hang },
];

/** Each of them once before any of them again. */
export function* inRandomOrder(random: Random): Generator<Disturbance, never> {
  for (;;) {
    const left = [...DISTURBANCES];
    while (left.length > 0) {
      const [next] = left.splice(random.int(0, left.length - 1), 1);
      if (next !== undefined) yield next;
    }
  }
}

/** The first worker and the first balancer run all the time, so that growth of their memory can be seen. */
async function replaceWorker(
  { cluster, random }: Stage,
  end: (worker: Member) => Promise<unknown>,
): Promise<void> {
  const worker = random.pick(cluster.workers.slice(1));
  cluster.workers.splice(cluster.workers.indexOf(worker), 1);
  await end(worker);
  await cluster.addWorker({ env: { CT_WORKER_ID: worker.id } });
  for (const balancer of cluster.balancers) await sees(balancer, cluster.workers.length);
}

async function replaceBalancer(
  { cluster }: Stage,
  end: (balancer: Member) => Promise<unknown>,
): Promise<void> {
  const balancer = cluster.balancers.pop();
  if (balancer === undefined) throw new Error("no balancer runs");
  await end(balancer);
  await sees(await cluster.addBalancer(), cluster.workers.length);
}

async function restartWithData({ cluster, admin }: Stage): Promise<void> {
  // Its connection closes when the data is on the disk.
  await admin.shutdown("SAVE").catch(() => {});
  await cluster.redis.kill();
  await cluster.redis.start();
  await responds(admin);
}

async function restartEmpty({ cluster, admin }: Stage): Promise<void> {
  const [, folder = ""] = (await admin.config("GET", "dir")) as string[];
  await cluster.redis.kill();
  rmSync(join(folder, "dump.rdb"), { force: true });
  await cluster.redis.start();
  await responds(admin);
}

async function hang({ cluster, admin }: Stage): Promise<void> {
  cluster.redis.pause();
  try {
    await delay(AWAY_MS);
  } finally {
    cluster.redis.resume();
  }
  await responds(admin);
}

async function responds(admin: Redis): Promise<void> {
  await until("Redis responds", async () => (await admin.ping()) === "PONG");
}
