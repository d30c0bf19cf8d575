/**
 * A cluster with teams that type and talk, behind one port, and operations that disturb it. Each operation measures how the
 * clients recover; tests and benchmarks define the limits.
 */
import type { Redis } from "ioredis";
import type { Client } from "./clients.ts";
import { type Cluster, countersOf, type Member, sees, startCluster } from "./cluster.ts";
import { type Line, openLine } from "./cut.ts";
import { backTimes, equalAfter, openTeams, pauses, type Team, type Teams } from "./teams.ts";
import { until } from "./until.ts";

/** Fields of a session's record in Redis. */
export interface Owned {
  readonly owner: string;
  readonly epoch: string;
  readonly state: string;
}

/** How clients recovered after their worker or balancer was gone. */
export interface Recovery {
  readonly backMs: readonly number[];
  readonly equalMs: number;
}

export interface Churn {
  readonly cluster: Cluster;
  readonly admin: Redis;
  readonly all: Teams;
  /** URL for clients; it forwards to the first live balancer, like a load balancer in front. */
  readonly url: string;
  startTyping(): void;
  recordOf(sessionId: string): Promise<Owned>;
  records(teams: readonly Team[]): Promise<Owned[]>;
  /** The worker with the most teams, and its teams. */
  busiest(): Promise<{ worker: Member; teams: Team[] }>;
  teamsOf(worker: Member): Promise<Team[]>;
  /**
   * Waits until the clients of `teams`, which are typing, have recovered from the loss of their worker, or of their balancer, at
   * `sinceMs`; they type again afterwards.
   */
  recovery(
    teams: readonly Team[],
    sinceMs: number,
    lost?: "worker" | "balancer",
  ): Promise<Recovery>;
  /** Resolves when all their sessions have had a new owner since then. */
  haveMoved(teams: readonly Team[], sinceMs: number): Promise<void>;
  /** Starts a worker with the same name for each worker that has ended. */
  replace(...workers: readonly Member[]): Promise<void>;
  /**
   * Stops typing and resolves with the number of messages that the worker has delivered, once it no longer changes. Works for
   * few clients only, because each sends an awareness message every 15 s.
   */
  quietDeliveries(worker: Member): Promise<number>;
  /** Pauses the worker of `teams` for `forMs` (SIGSTOP) while clients type, then resumes it. */
  stopFor(worker: Member, teams: readonly Team[], forMs: number): Promise<Recovery>;
  /** Reconnects of all clients so far. */
  reconnects(): number;
  close(): Promise<void>;
}

/** Longer than the 30 s after which clients give up. */
const RECOVERY_TIMEOUT_MS = 60_000;
const QUIET_MS = 300;

export async function startChurn(options: {
  readonly teams: number;
  readonly guests: number;
  /** The period in which each client types once. */
  readonly typingMs: number;
}): Promise<Churn> {
  const cluster = await startCluster({ workers: 3, balancers: 2 });
  const admin = cluster.redis.admin();
  const front: Line = await openLine(() => cluster.balancers.map(({ port }) => port));
  const url = `http://127.0.0.1:${front.port}`;
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
    const loads = await Promise.all(
      cluster.workers.map(async (worker) => ({ worker, teams: await teamsOf(worker) })),
    );
    const [first] = loads.sort((a, b) => b.teams.length - a.teams.length);
    if (first === undefined || first.teams.length === 0) throw new Error("no worker has a team");
    return first;
  }

  function startTyping(): void {
    all.startTyping(options.typingMs);
  }

  async function haveMoved(teams: readonly Team[], sinceMs: number): Promise<void> {
    // An epoch is the time at which it began, or later.
    const sinceWallMs = Date.now() - (performance.now() - sinceMs);
    const isNew = ({ epoch }: Owned): boolean => Number(epoch) >= sinceWallMs;
    const areNew = async () => (await records(teams)).every(isNew);
    await until("their sessions have new owners", areNew, RECOVERY_TIMEOUT_MS);
  }

  async function recovery(
    teams: readonly Team[],
    sinceMs: number,
    lost: "worker" | "balancer" = "worker",
  ): Promise<Recovery> {
    if (lost === "worker") await haveMoved(teams, sinceMs);
    const wait = lost === "worker" ? pauses : backTimes;
    const backMs = await wait(peersOf(teams), sinceMs, RECOVERY_TIMEOUT_MS);
    await all.stopTyping();
    const equalMs = await equalAfter(teams, sinceMs, RECOVERY_TIMEOUT_MS);
    startTyping();
    return { backMs, equalMs };
  }

  async function quietDeliveries(worker: Member): Promise<number> {
    await all.stopTyping();
    let before = -1;
    const quiet = await until("the worker delivers no more messages", async () => {
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
    haveMoved,
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
        // What clients type now waits in the sockets of the paused process.
        startTyping();
        const recovered = await recovery(teams, stoppedMs);
        const isOver = () => performance.now() - stoppedMs > forMs;
        await until("the pause is over", isOver, forMs + 1000);
        return recovered;
      } finally {
        worker.child.kill("SIGCONT");
      }
    },
    reconnects: () => all.clients.reduce((sum, client) => sum + client.reconnectCount, 0),
    async close() {
      await all.close();
      await front.close();
      await cluster.dispose();
    },
  };
}

export function peersOf(teams: readonly Team[]): Client[] {
  return teams.flatMap((team) => team.everybody);
}

export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

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
