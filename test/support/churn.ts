/**
 * An edge of many machines with teams that type and talk, behind one door, and what may happen to it. Each method does one
 * thing to it and says what became of the people; what is good enough is for the test or the benchmark to say.
 */
import type { Redis } from "ioredis";
import type { Client } from "./clients.ts";
import { type Cluster, type Member, sees, startCluster } from "./cluster.ts";
import { type Line, openLine } from "./cut.ts";
import { backTimes, equalAfter, openTeams, type Team, type Teams } from "./teams.ts";
import { until } from "./until.ts";

/** A session's record, as it stands in Redis. */
export interface Owned {
  readonly owner: string;
  readonly epoch: string;
  readonly state: string;
}

/** How people fared when their worker or balancer was gone. */
export interface Recovery {
  /** For each of them, ms until they were in their session again. */
  readonly backMs: readonly number[];
  /** Until the documents of all of them were equal, in ms. */
  readonly equalMs: number;
}

export interface Churn {
  readonly cluster: Cluster;
  readonly admin: Redis;
  readonly all: Teams;
  /** What clients call: it leads to the first balancer that lives, as a load balancer in front does. */
  readonly url: string;
  startTyping(): void;
  recordOf(sessionId: string): Promise<Owned>;
  records(teams: readonly Team[]): Promise<Owned[]>;
  /** The worker with the most teams, and they. */
  busiest(): Promise<{ worker: Member; teams: Team[] }>;
  teamsOf(worker: Member): Promise<Team[]>;
  /** Waits for the people of `teams` (all of them typing) from `sinceMs` on; they are typing again afterwards. */
  recovery(teams: readonly Team[], sinceMs: number): Promise<Recovery>;
  /** Starts a worker in the place of each that has ended, under its name. */
  replace(...workers: readonly Member[]): Promise<void>;
  /**
   * Stops typing, and resolves with how many messages the worker has delivered when that does not change any more. For a
   * few people: each lets the others know every 15 s that it is there.
   */
  quietDeliveries(worker: Member): Promise<number>;
  /** Stops the worker of `teams` for `forMs`, while people type, and lets it go on. */
  stopFor(worker: Member, teams: readonly Team[], forMs: number): Promise<Recovery>;
  /** Reconnects of everybody so far. */
  reconnects(): number;
  close(): Promise<void>;
}

/** Whoever is not back by then hangs: clients give up after 30 s. */
const RECOVERY_TIMEOUT_MS = 60_000;
const QUIET_MS = 300;

export async function startChurn(options: {
  readonly teams: number;
  readonly guests: number;
  /** Everybody types once in so long. */
  readonly typingMs: number;
}): Promise<Churn> {
  const cluster = await startCluster({ workers: 3, balancers: 2 });
  const admin = cluster.redis.admin();
  const door: Line = await openLine(() => cluster.balancers.map(({ port }) => port));
  const url = `http://127.0.0.1:${door.port}`;
  const all = await openTeams({ count: options.teams, guests: options.guests, url: () => url });

  async function recordOf(sessionId: string): Promise<Owned> {
    const fields = ["owner", "epoch", "state"] as const;
    const [owner, epoch, state] = await admin.hmget(`{ct}:session:${sessionId}`, ...fields);
    if (!owner || !epoch || !state) throw new Error("no record");
    return { owner, epoch, state };
  }

  function records(teams: readonly Team[]): Promise<Owned[]> {
    return Promise.all(teams.map(({ sessionId }) => recordOf(sessionId)));
  }

  async function teamsOf(worker: Member): Promise<Team[]> {
    const owned = await records(all.teams);
    return all.teams.filter((_, i) => owned[i]?.owner === worker.id);
  }

  async function busiest(): Promise<{ worker: Member; teams: Team[] }> {
    const found = await Promise.all(
      cluster.workers.map(async (worker) => ({ worker, teams: await teamsOf(worker) })),
    );
    const [first] = found.sort((a, b) => b.teams.length - a.teams.length);
    if (first === undefined || first.teams.length === 0) throw new Error("no worker has a team");
    return first;
  }

  function startTyping(): void {
    all.startTyping(options.typingMs);
  }

  async function recovery(teams: readonly Team[], sinceMs: number): Promise<Recovery> {
    const backMs = await backTimes(peersOf(teams), sinceMs, RECOVERY_TIMEOUT_MS);
    await all.stopTyping();
    const equalMs = await equalAfter(teams, sinceMs, RECOVERY_TIMEOUT_MS);
    startTyping();
    return { backMs, equalMs };
  }

  async function quietDeliveries(worker: Member): Promise<number> {
    await all.stopTyping();
    let before = -1;
    const quiet = await until("it delivers nothing more", async () => {
      const delivered = (await countersOf(worker))["worker.messages_delivered"] ?? 0;
      const isQuiet = delivered === before;
      before = delivered;
      if (!isQuiet) await new Promise((resolve) => setTimeout(resolve, QUIET_MS));
      return isQuiet && { delivered };
    });
    return quiet.delivered;
  }

  return {
    cluster,
    admin,
    all,
    url,
    startTyping,
    recordOf,
    records,
    busiest,
    teamsOf,
    recovery,
    quietDeliveries,
    async replace(...workers) {
      for (const worker of workers) cluster.workers.splice(cluster.workers.indexOf(worker), 1);
      for (const { id } of workers) await cluster.addWorker({ env: { CT_WORKER_ID: id } });
      for (const balancer of cluster.balancers) await sees(balancer, cluster.workers.length);
    },
    async stopFor(worker, teams, forMs) {
      const stoppedMs = performance.now();
      worker.child.kill("SIGSTOP");
      try {
        // What is typed now waits in the sockets of the stopped process.
        startTyping();
        const recovered = await recovery(teams, stoppedMs);
        const isOver = () => performance.now() - stoppedMs > forMs;
        await until("the time of the stop has passed", isOver, forMs + 1000);
        return recovered;
      } finally {
        worker.child.kill("SIGCONT");
      }
    },
    reconnects: () => all.clients.reduce((sum, client) => sum + client.reconnectCount, 0),
    async close() {
      await all.close();
      await door.close();
      await cluster.dispose();
    },
  };
}

export function peersOf(teams: readonly Team[]): Client[] {
  return teams.flatMap((team) => team.everybody);
}

export async function countersOf(member: Member): Promise<Record<string, number>> {
  return ((await member.view()) as { counters: Record<string, number> }).counters;
}

/** The value below which `share` (0 to 1) of `values` lie. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

/** One line of figures. */
export function describeRecoveries(what: string, recoveries: readonly Recovery[]): string {
  const backMs = recoveries.flatMap((one) => one.backMs);
  const [p50, p99, worst, equal] = [
    quantile(backMs, 0.5),
    quantile(backMs, 0.99),
    Math.max(...backMs),
    Math.max(...recoveries.map(({ equalMs }) => equalMs)),
  ].map((ms) => `${Math.round(ms)} ms`);
  return `${what}: ${backMs.length} peers back p50 ${p50}, p99 ${p99}, worst ${worst}; documents equal after ${equal}\n`;
}
