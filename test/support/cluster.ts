/**
 * A cluster on one machine: a real Redis, and balancers and workers as separate processes, started from dist/ on free ports. A
 * program can also be started alone, to test how it fails.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { fetch } from "undici";
import type { EdgeMessage } from "../../shared/process/edge-channel.ts";
import { atEnd } from "./at-end.ts";
import { buildOnce } from "./build.ts";
import { LINK_ENV } from "./link-mode.ts";
import { outputOf } from "./output.ts";
import { type RedisOptions, settle, startRedis, type TestRedis } from "./redis.ts";
import { makeFolder, removeFolder } from "./temp-folder.ts";
import { until } from "./until.ts";

export const CLUSTER_SECRET = "the secret that all processes of a cluster share";

export type Program = "balancer" | "worker";

export interface ProcessOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** The offset of its wall clock from the machine's. */
  readonly clockOffsetMs?: number;
  readonly descriptors?: number;
  /** Of the project, or of a copy of it. */
  readonly folder?: string;
}

export interface Member {
  readonly id: string;
  /** URL of the balancer's public HTTP port or the worker's traffic port. */
  readonly url: string;
  readonly port: number;
  readonly statusPort: number;
  /** 0 without a certificate. */
  readonly tlsPort: number;
  /** When it reported that it is ready, on `performance.now()`. */
  readonly readyMs: number;
  readonly child: ChildProcess;
  output(): string;
  /** The view from its status port. */
  view(): Promise<Record<string, unknown>>;
  /** Stops it gracefully. Resolves with the time of its end. */
  stop(): Promise<number>;
  kill(): Promise<void>;
}

/** A process that may not become ready. */
export interface Run {
  readonly child: ChildProcess;
  output(): string;
  /** Resolves when it is ready; rejects if it ends before. */
  ready(): Promise<Member>;
  /** Resolves with its exit status when it ends. */
  ended(): Promise<number | null>;
  kill(): Promise<void>;
}

export interface Cluster {
  readonly redis: TestRedis;
  /** For `CT_REDIS_URL`, over loopback. */
  readonly redisUrl: string;
  /** The started workers, in that order; a test that ends one may remove it. */
  readonly workers: Member[];
  readonly balancers: Member[];
  /** Starts one more; it is named by its number. */
  addWorker(options?: ProcessOptions): Promise<Member>;
  addBalancer(options?: ProcessOptions): Promise<Member>;
  /** Starts one that need not become ready; `dispose` ends it too. */
  launch(program: Program, options?: ProcessOptions): Run;
  dispose(): Promise<void>;
}

/** Starts Redis and as many workers and balancers; resolves when all balancers see all workers. Disposed of at the end. */
export async function startCluster(options: {
  readonly workers: number;
  readonly balancers: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly redis?: RedisOptions;
}): Promise<Cluster> {
  const redis = await startRedis({ port: true, ...options.redis });
  // Processes do not consider a member gone while Redis was emptied recently.
  await settle(redis.admin());
  const redisUrl = `redis://127.0.0.1:${redis.port}`;
  const runs: Run[] = [];
  const workers: Member[] = [];
  const balancers: Member[] = [];

  function launchHere(program: Program, own: ProcessOptions = {}): Run {
    const env = { CT_REDIS_URL: redisUrl, CT_LOGIN_SIMPLE: "on", ...options.env, ...own.env };
    const run = start(program, { ...own, env });
    runs.push(run);
    return run;
  }

  const cluster: Cluster = {
    redis,
    redisUrl,
    workers,
    balancers,
    async addWorker(own = {}) {
      const env = { CT_WORKER_ID: `worker-${workers.length + 1}`, ...own.env };
      const worker = launchHere("worker", { ...own, env }).ready();
      workers.push(await worker);
      return worker;
    },
    async addBalancer(own) {
      const balancer = launchHere("balancer", own).ready();
      balancers.push(await balancer);
      return balancer;
    },
    launch: launchHere,
    async dispose() {
      await Promise.all(runs.map((run) => run.kill()));
      await redis.close();
    },
  };
  atEnd(() => cluster.dispose());
  await buildOnce();
  try {
    // Together, because a process that starts waits for its store and its disk too.
    const started = await Promise.all(
      Array.from({ length: options.workers }, (_, index) => {
        const env = { CT_WORKER_ID: `worker-${index + 1}` };
        return launchHere("worker", { env }).ready();
      }),
    );
    workers.push(...started);
    await Promise.all(Array.from({ length: options.balancers }, () => cluster.addBalancer()));
    for (const balancer of balancers) await sees(balancer, options.workers);
    return cluster;
  } catch (error) {
    await cluster.dispose();
    throw error;
  }
}

/** Resolves when the balancer sees `workers` workers. */
export async function sees(balancer: Member, workers: number): Promise<void> {
  await until(
    `${balancer.id} sees ${workers} workers`,
    async () => (await workersSeenBy(balancer)).length === workers,
  );
}

/** Names of the workers that a balancer sees, sorted. */
export async function workersSeenBy(balancer: Member): Promise<string[]> {
  const { workers } = (await balancer.view()) as { workers: { id: string }[] };
  return workers.map(({ id }) => id).sort();
}

/** A worker as a balancer sees it; undefined when it is unknown there. */
export async function seenBy(
  balancer: Member,
  id: string,
): Promise<{ readonly url: string; readonly status: string } | undefined> {
  type Seen = readonly { readonly id: string; readonly url: string; readonly status: string }[];
  return ((await balancer.view())["workers"] as Seen).find((worker) => worker.id === id);
}

/** Ids of the sessions that a worker hosts. */
export async function sessionsOf(worker: Member): Promise<string[]> {
  const sessions = (await worker.view())["sessions"] as readonly { readonly id: string }[];
  return sessions.map(({ id }) => id);
}

export async function countersOf(member: Member): Promise<Record<string, number>> {
  return (await member.view())["counters"] as Record<string, number>;
}

// --- one process ---

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const MAX_KEPT_CHARS = 256 * 1024;

interface Ready {
  readonly port?: number;
  readonly httpPort?: number;
  readonly tlsPort?: number;
  readonly statusPort: number;
}

/** Starts a program from dist/ on loopback and free ports, as `ct-edge` does; killed at the end. */
export function launch(program: Program, options: ProcessOptions = {}): Run {
  const run = start(program, options);
  atEnd(() => run.kill());
  return run;
}

function start(program: Program, options: ProcessOptions): Run {
  const dataDir = makeFolder();
  const child = fork(join(options.folder ?? ROOT, "dist", program, "main.js"), [], {
    ...startedBy(options),
    env: environment({ CT_DATA_DIR: dataDir, ...options.env }),
    stdio: ["ignore", "pipe", "pipe", "ipc"],
  });
  // Interrupted tests leave no process behind.
  const killAtExit = () => child.kill("SIGKILL");
  process.once("exit", killAtExit);
  const output = outputOf(child, MAX_KEPT_CHARS);
  let ready: (Ready & { readonly atMs: number }) | undefined;
  child.on("message", (message: { type?: string }) => {
    if (message.type === "ready") {
      ready = { ...(message as unknown as Ready), atMs: performance.now() };
    }
    // Without a reply, as from an edge that hangs, it would stop 2 s after SIGTERM.
    if (message.type === "stop-wanted") {
      child.send({ type: "stop", scope: "process" } satisfies EdgeMessage, () => {});
    }
  });
  const exited = once(child, "exit").then(() => {
    process.off("exit", killAtExit);
    const atMs = performance.now();
    removeFolder(dataDir);
    return atMs;
  });
  const run: Run = {
    child,
    output: () => output.all,
    async ready() {
      const { atMs, ...ports } = await until(`the ${program} is ready`, () => {
        if (child.exitCode !== null) throw new Error(`the process has ended: ${output.all}`);
        return ready;
      }).catch((error: unknown) => {
        throw new Error(`the ${program} did not start: ${output.all}`, { cause: error });
      });
      return asMember(options.env?.["CT_WORKER_ID"] ?? program, run, exited, ports, atMs);
    },
    async ended() {
      await exited;
      return child.exitCode;
    },
    async kill() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill("SIGKILL");
      await exited;
    },
  };
  return run;
}

function asMember(
  id: string,
  run: Run,
  exited: Promise<number>,
  { port, httpPort, tlsPort, statusPort }: Ready,
  readyMs: number,
): Member {
  const traffic = httpPort ?? port ?? 0;
  return {
    id,
    url: `http://127.0.0.1:${traffic}`,
    port: traffic,
    statusPort,
    tlsPort: tlsPort ?? 0,
    readyMs,
    child: run.child,
    output: () => run.output(),
    async view() {
      const response = await fetch(`http://127.0.0.1:${statusPort}/view`);
      return (await response.json()) as Record<string, unknown>;
    },
    async stop() {
      run.child.kill("SIGTERM");
      return exited;
    },
    kill: () => run.kill(),
  };
}

function environment(settings: Readonly<Record<string, string>>): Record<string, string> {
  return {
    PATH: process.env["PATH"] ?? "",
    CT_SECRET: CLUSTER_SECRET,
    CT_BIND: "127.0.0.1",
    CT_PORT: "0",
    CT_TLS_PORT: "0",
    CT_WORKER_PORT: "0",
    CT_STATUS_PORT: "0",
    // A test starts many balancers, and the requests that it sends are few.
    CT_WARM_UP_MS: "0",
    ...LINK_ENV,
    ...settings,
  };
}

/** Node itself, or prlimit with Node as its command. */
function startedBy({ clockOffsetMs, descriptors }: ProcessOptions): {
  execPath?: string;
  execArgv: string[];
} {
  const execArgv = clockArguments(clockOffsetMs);
  if (descriptors === undefined) return { execArgv };
  const limit = `--nofile=${descriptors}:${descriptors}`;
  return { execPath: "prlimit", execArgv: [limit, process.execPath, ...execArgv] };
}

/** Replaces `Date` before the program starts, to simulate a machine with a wrong clock. */
function clockArguments(offsetMs = 0): string[] {
  if (offsetMs === 0) return [];
  const source = `const Real = Date;
globalThis.Date = class extends Real {
  constructor(...args) { if (args.length === 0) super(Real.now() + ${offsetMs}); else super(...args); }
  static now() { return Real.now() + ${offsetMs}; }
};`;
  return ["--import", `data:text/javascript,${encodeURIComponent(source)}`];
}
