/**
 * A cluster for `ct-edge verify`, and faults of its set-up behind the front: each is planted in the running cluster and
 * removed again.
 */
import { readViews } from "../../shared/cluster/read.ts";
import { type Cluster, type Member, type Run, sees, startCluster } from "./cluster.ts";
import { openStore } from "./redis.ts";
import { until } from "./until.ts";

/** For the dashboard, with all scopes. */
export const OPERATOR_TOKEN = "verify-operator-token-verify-operator-token";

/** Each with the check that names it. */
export const INSIDE_FAULTS = {
  "other secret": "secret",
  "evicting Redis": "redis-policy",
  "two edges on one prefix": "one-edge",
  "worker unreachable from one balancer": "reachable",
} as const;
export type InsideFault = keyof typeof INSIDE_FAULTS;

/** `size`: balancers, and workers. */
export function startVerifiedCluster(
  env: Readonly<Record<string, string>> = {},
  size = 2,
): Promise<Cluster> {
  return startCluster({
    workers: size,
    balancers: size,
    env: {
      CT_TRUSTED_PROXIES: "127.0.0.1",
      CT_DRAIN_DELAY_MS: "0",
      CT_DASHBOARD_TOKENS: `verify:read+drain:${OPERATOR_TOKEN}`,
      ...env,
    },
  });
}

/** Resolves when it can be seen, with how to remove it, which resolves when it can be seen no more. */
export async function plant(cluster: Cluster, fault: InsideFault): Promise<() => Promise<void>> {
  switch (fault) {
    case "evicting Redis": {
      const setPolicy = (policy: string): Promise<unknown> =>
        cluster.redis.admin().config("SET", "maxmemory-policy", policy);
      await setPolicy("allkeys-lru");
      return async () => void (await setPolicy("noeviction"));
    }
    case "other secret":
      return launchStrangers(cluster, ["worker"]);
    case "two edges on one prefix":
      return launchStrangers(cluster, ["balancer", "worker"]);
    case "worker unreachable from one balancer":
      return launchCutOffBalancer(cluster);
  }
}

async function launchStrangers(
  cluster: Cluster,
  programs: readonly ("balancer" | "worker")[],
): Promise<() => Promise<void>> {
  const env = { CT_SECRET: "a secret that only these processes have", CT_WORKER_ID: "stranger" };
  const runs = programs.map((program) => cluster.launch(program, { env }));
  await Promise.all(runs.map((run) => run.ready()));
  return () => stopped(cluster, runs);
}

/** One more balancer, from which connections to the first worker are refused. */
async function launchCutOffBalancer(cluster: Cluster): Promise<() => Promise<void>> {
  const [worker] = cluster.workers;
  const run = cluster.launch("balancer", {
    env: { NODE_OPTIONS: `--import ${refusing(worker?.port ?? 0)}` },
  });
  const balancer: Member = await run.ready();
  await sees(balancer, cluster.workers.length);
  await until("a report says that a worker cannot be reached", async () => {
    const views = await viewsOf(cluster);
    return views.some(
      ({ view }) =>
        view.role === "balancer" && view.workers.some(({ status }) => status !== "healthy"),
    );
  });
  return () => stopped(cluster, [run]);
}

/** A module that leads connections to a port to one where nothing listens. */
function refusing(port: number): string {
  const source = `import { Socket } from "node:net";
const { connect } = Socket.prototype;
Socket.prototype.connect = function (...args) {
  const options = Array.isArray(args[0]) ? args[0][0] : args[0];
  if (options?.port === ${port}) options.port = 1;
  return connect.apply(this, args);
};`;
  return `data:text/javascript,${encodeURIComponent(source)}`;
}

/** Resolves when the processes have ended and withdrawn their leases. */
async function stopped(cluster: Cluster, runs: readonly Run[]): Promise<void> {
  for (const { child } of runs) child.kill("SIGTERM");
  await Promise.all(runs.map((run) => run.ended()));
  const { store } = openStore(cluster.redis.url);
  try {
    await until("the stopped processes have no lease", async () => {
      const { members } = await store.members();
      return members.length === cluster.workers.length + cluster.balancers.length;
    });
  } finally {
    await store.close();
  }
}

export async function viewsOf(cluster: Cluster) {
  const { store } = openStore(cluster.redis.url);
  try {
    const { members } = await store.members();
    return await readViews(store, members);
  } finally {
    await store.close();
  }
}
