/**
 * Simulated members, in a process of their own: each renews its lease once a second, with a load that changes, by the code of
 * real workers. `startLeases` starts the process; it replies to every message.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { systemClock } from "../../../shared/base/clock.ts";
import { newIncarnation, type WorkerId } from "../../../shared/base/ids.ts";
import { createLease, type Lease } from "../../../shared/membership/lease.ts";
import type { WorkerRecord } from "../../../shared/store/member.ts";
import { openStore } from "../../../test/support/redis.ts";
import { workerRecord } from "../routing.ts";

export interface Leases {
  /** Adds members until there are `count`. */
  grow(count: number): Promise<void>;
  /** Adds one. Resolves with the time at which it was announced, in ms since the epoch. */
  addOne(): Promise<number>;
  close(): Promise<void>;
}

/** A store's connection is made for one process, and remembers what a few members have announced. */
const MEMBERS_PER_CONNECTION = 32;

export function startLeases(redisUrl: string): Leases {
  const child = fork(fileURLToPath(import.meta.url), ["leases", redisUrl]);
  const ended = once(child, "exit");
  let count = 0;
  return {
    async grow(wanted) {
      count = wanted;
      await call(child, wanted);
    },
    async addOne() {
      count++;
      return call(child, count);
    },
    async close() {
      if (child.connected) child.disconnect();
      await ended;
    },
  };
}

async function call(child: ChildProcess, count: number): Promise<number> {
  child.send(count);
  const [replied] = (await Promise.race([
    once(child, "message"),
    once(child, "exit").then(() => Promise.reject(new Error("the simulated members have ended"))),
  ])) as [number];
  return replied;
}

// --- the process ---

if (process.argv[2] === "leases") serve(process.argv[3] ?? "");

function serve(redisUrl: string): void {
  const stores: ReturnType<typeof openStore>["store"][] = [];
  const leases: Lease[] = [];

  async function addOne(): Promise<number> {
    if (leases.length % MEMBERS_PER_CONNECTION === 0) stores.push(openStore(redisUrl).store);
    const store = stores.at(-1);
    if (store === undefined) throw new Error("no store");
    const record = { ...workerRecord(`worker-${leases.length}`), incarnation: newIncarnation() };
    const lease = createLease({
      store,
      clock: systemClock,
      log: SILENT,
      describe: () => busy(record),
      onReplaced() {},
    });
    leases.push(lease);
    await lease.start();
    return performance.timeOrigin + performance.now();
  }

  process.on("message", (count: number) => {
    void (async () => {
      let atMs = 0;
      while (leases.length < count) atMs = await addOne();
      process.send?.(atMs);
    })();
  });
  process.once("disconnect", () => process.exit());
}

const SILENT = { debug() {}, info() {}, warn() {}, error() {} };

/** As long as a real record. */
function busy(record: WorkerRecord): WorkerRecord {
  const sessions = Math.floor(Math.random() * 1000);
  const load = { sessions, connections: 3 * sessions, lagMs: Math.random(), cpu: Math.random() };
  return {
    ...record,
    id: record.id as WorkerId,
    version: "0.1.0",
    ringFingerprint: "0123456789abcdef",
    secretFingerprint: "01234567",
    linkVersion: 1,
    resumeVersion: 1,
    load,
  };
}
