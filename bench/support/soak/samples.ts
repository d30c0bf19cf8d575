/** Memory and open descriptors of the processes of a cluster, each after a garbage collection. Linux only (/proc). */
import { readdirSync } from "node:fs";
import type { Redis } from "ioredis";
import { fetch } from "undici";
import type { Cluster, Member } from "../../../test/support/cluster.ts";
import { within } from "../../../test/support/until.ts";
import { privateOf } from "../process.ts";

/** For the environment of the cluster: its processes collect garbage on SIGUSR2. */
export const COLLECTS_GARBAGE = {
  NODE_OPTIONS: `--import ${new URL("collect-garbage.mjs", import.meta.url).href}`,
};

export interface Sample {
  readonly atMs: number;
  /** Of the cluster: `worker-1`, `balancer-1`, `redis`. */
  readonly name: string;
  /** Another one after a restart. */
  readonly pid: number;
  readonly privateMib: number;
  /** Used heap and buffers; of Redis, its used memory. */
  readonly usedMib: number;
  readonly descriptors: number;
  /** Client connections of a balancer or of Redis, sessions of a worker: what memory and descriptors follow. */
  readonly load: number;
}

const COLLECTION_MS = 10_000;
const MIB = 2 ** 20;

/** One for each process; those that end, start or do not respond meanwhile are left out. */
export async function takeSamples(cluster: Cluster, admin: Redis): Promise<Sample[]> {
  const named = [...cluster.workers, ...cluster.balancers.map(withNumber)];
  const samples = [...named.map(sampleOf), sampleOfRedis(admin)];
  const taken = await Promise.allSettled(samples);
  return taken.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
}

/** Balancers have no names of their own. */
function withNumber(balancer: Member, index: number): Member {
  return { ...balancer, id: `balancer-${index + 1}` };
}

async function sampleOf({ id, child, statusPort }: Member): Promise<Sample> {
  const pid = child.pid ?? 0;
  const usedBytes = await within(`${id} collects garbage`, COLLECTION_MS, garbageCollected(child));
  const response = await fetch(`http://127.0.0.1:${statusPort}/view`, {
    signal: AbortSignal.timeout(COLLECTION_MS),
  });
  return {
    atMs: performance.now(),
    name: id,
    pid,
    privateMib: privateOf(pid) / MIB,
    usedMib: usedBytes / MIB,
    descriptors: descriptorsOf(pid),
    load: loadOf((await response.json()) as View),
  };
}

type View =
  | { readonly role: "balancer"; readonly connections: number }
  | { readonly role: "worker"; readonly sessions: readonly { readonly peers?: unknown }[] };

function loadOf(view: View): number {
  return view.role === "balancer" ? view.connections : view.sessions.length;
}

function garbageCollected(child: Member["child"]): Promise<number> {
  return new Promise((resolve) => {
    const onMessage = (message: { type?: string; bytes?: number }): void => {
      if (message.type !== "garbage-collected") return;
      child.off("message", onMessage);
      resolve(message.bytes ?? Number.NaN);
    };
    child.on("message", onMessage);
    child.kill("SIGUSR2");
  });
}

async function sampleOfRedis(admin: Redis): Promise<Sample> {
  const info = await within("Redis responds", COLLECTION_MS, admin.info());
  const pid = Number(/^process_id:(\d+)/m.exec(info)?.[1]);
  return {
    atMs: performance.now(),
    name: "redis",
    pid,
    privateMib: privateOf(pid) / MIB,
    usedMib: Number(/^used_memory:(\d+)/m.exec(info)?.[1]) / MIB,
    descriptors: descriptorsOf(pid),
    load: Number(/^connected_clients:(\d+)/m.exec(info)?.[1]),
  };
}

function descriptorsOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}
