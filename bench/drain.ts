/**
 * How long does draining a worker with 1,000 sessions take, and do people notice? Real processes, a real Redis, one balancer,
 * three workers, a host and a guest in each session who talk throughout, all on this machine. The limits are those of a rolling
 * upgrade: drained within 60 s, event-loop delay of each worker below 100 ms (p99 of the worst second), and at most
 * CT_MAX_ADMISSIONS_PER_SECOND people admitted per second and worker. Then one of the other workers is killed, and all of its
 * people reconnect at the same time.
 *
 * Size: DRAIN_SESSIONS (1000), DRAIN_TALK_MS (10000: period in which each person sends a message), DRAIN_ADMISSIONS (200).
 */
import { fetch } from "undici";
import { systemClock } from "../shared/base/clock.ts";
import type { WorkerId } from "../shared/base/ids.ts";
import { sendCommand } from "../shared/control/send.ts";
import { createLog } from "../shared/logs/log.ts";
import { createCounters } from "../shared/metrics/metrics.ts";
import { parseRedisUrl } from "../shared/store/redis/connection/target.ts";
import { connectRedisStore } from "../shared/store/redis/store.ts";
import { quantile } from "../test/support/churn.ts";
import { type Cluster, type Member, sees, startCluster } from "../test/support/cluster.ts";
import { type LightTeams, openLightTeams } from "../test/support/light-teams.ts";
import { until } from "../test/support/until.ts";
import { writeResults } from "./support/results.ts";
import { size } from "./support/sizes.ts";
import { summarize } from "./support/statistics.ts";

const SESSIONS = size("DRAIN_SESSIONS", { long: 1000, short: 100 });
const TALK_MS = size("DRAIN_TALK_MS", { long: 10_000, short: 5000 });
/** Admissions per second and worker. */
const CAP = size("DRAIN_ADMISSIONS", { long: 200, short: 200 });
const SAMPLE_MS = 200;
/** The gauge of a worker covers 10 s; without this wait it would include its start. */
const IDLE_MS = 12_000;
const LAG = /^codetogether_process_lag_p99_seconds(?:\{[^}]*\})? ([\d.e-]+)$/m;

export async function run(): Promise<void> {
  const cluster = await startCluster({
    workers: 1,
    balancers: 1,
    env: {
      CT_MAX_SESSIONS_PER_USER: "100000",
      // With links nobody reconnects: bench/moves.ts.
      CT_LINK: "off",
      CT_LOG_LEVEL: "warn",
      CT_MAX_ADMISSIONS_PER_SECOND: String(CAP),
    },
  });
  try {
    await measure(cluster);
  } finally {
    await cluster.dispose();
  }
}

async function measure(cluster: Cluster): Promise<void> {
  const [balancer] = cluster.balancers as [Member];
  const [old] = cluster.workers as [Member];
  const openingMs = performance.now();
  const all = await openLightTeams(balancer.url, SESSIONS);
  say(`${SESSIONS} sessions of two opened in ${seconds(performance.now() - openingMs)}`);
  // Existing sessions stay at the first worker.
  const next = await cluster.addWorker();
  await cluster.addWorker();
  await sees(balancer, 3);
  all.startTalking(TALK_MS);
  const idle = await lagWhile(cluster.workers, new Promise((go) => setTimeout(go, IDLE_MS)));
  say(`before: loop lag p99 of the worst second ${idle.map(ms).join(", ")}`);

  const drain = await observe(cluster, all, async () => {
    const beganMs = performance.now();
    await askToDrain(cluster, old);
    const isEmpty = async () => (await sessionsOf(old)) === 0;
    await until("the worker has no session", isEmpty, 120_000);
    return performance.now() - beganMs;
  });
  say(`drained in ${seconds(drain.tookMs)} (limit 60 s)`);
  printSeen(drain);
  all.stopTalking();
  const isComplete = () => all.misheard().length === 0;
  await until("all messages have arrived", isComplete, 15_000).catch(() => {});
  const sentCount = all.peers.reduce((sum, { spoken }) => sum + spoken.length, 0);
  say(
    `${sentCount} messages; lost, duplicated or reordered for ${all.misheard().length} of ${all.peers.length} people`,
  );

  const orphans = await sessionsOf(next);
  cluster.workers.splice(cluster.workers.indexOf(next), 1);
  all.startTalking(TALK_MS);
  const storm = await observe(cluster, all, async () => {
    const beganMs = performance.now();
    await next.kill();
    await until("clients have noticed", () => all.peers.some(({ peer }) => !peer.socket.connected));
    return performance.now() - beganMs;
  });
  say(`then a worker with ${orphans} of the sessions is killed`);
  printSeen(storm);
  writeResults("drain", [
    figure(`${SESSIONS} sessions drained from one worker`, "s", [drain.tookMs / 1000]),
    figure("drain: loop lag p99 of the worst second, by worker", "ms", drain.lagMs),
    figure("drain: people admitted within the busiest second", "people", [drain.busiest]),
    figure("drain: pauses", "ms", drain.pausesMs),
    figure("storm: loop lag p99 of the worst second, by worker", "ms", storm.lagMs),
    figure("storm: people admitted within the busiest second", "people", [storm.busiest]),
    figure("storm: pauses", "ms", storm.pausesMs),
  ]);
  await all.close();
}

interface Seen {
  readonly tookMs: number;
  /** The highest delay of each worker. */
  readonly lagMs: readonly number[];
  readonly pausesMs: readonly number[];
  /** Most people admitted to sessions within one second. */
  readonly busiest: number;
}

/** Runs `act`, waits until all clients are connected again, and measures clients and workers meanwhile. */
async function observe(
  cluster: Cluster,
  all: LightTeams,
  act: () => Promise<number>,
): Promise<Seen> {
  const sinceMs = performance.now();
  let tookMs = Number.NaN;
  const over = act().then((ms) => {
    tookMs = ms;
    const isBack = () => all.peers.every(({ peer }) => peer.socket.connected);
    return until("all clients are connected", isBack, 60_000);
  });
  const lagMs = await lagWhile(cluster.workers, over);
  const pausesMs = all.peers.flatMap(({ lostMs, servedMs }) =>
    lostMs
      .filter((lost) => lost > sinceMs)
      .map((lost) => (servedMs.find((served) => served > lost) ?? Number.NaN) - lost),
  );
  const admitted = all.peers.flatMap(({ servedMs }) => servedMs.filter((at) => at > sinceMs));
  return { tookMs, lagMs, pausesMs, busiest: mostWithin(admitted, 1000) };
}

async function askToDrain(cluster: Cluster, worker: Member): Promise<void> {
  const store = connectRedisStore({
    target: parseRedisUrl(cluster.redisUrl),
    prefix: "{ct}:",
    name: "bench",
    clock: systemClock,
    log: createLog({ name: "bench", level: "error", format: "text", sink: process.stderr }),
    counters: createCounters(),
  });
  try {
    const command = { kind: "drain" } as const;
    const result = await sendCommand({ store, clock: systemClock }, worker.id as WorkerId, command);
    if (result === "no answer" || result.outcome !== "done") {
      throw new Error(`the drain did not start: ${JSON.stringify(result)}`);
    }
  } finally {
    await store.close();
  }
}

function printSeen({ lagMs, pausesMs, busiest }: Seen): void {
  const [p50, p99] = [quantile(pausesMs, 0.5), quantile(pausesMs, 0.99)];
  say(`  loop lag p99 of the worst second, by worker: ${lagMs.map(ms).join(", ")} (limit 100 ms)`);
  say(`  ${busiest} people admitted within the busiest second, by all workers (limit ${CAP} each)`);
  say(
    `  ${pausesMs.length} pauses: p50 ${ms(p50)}, p99 ${ms(p99)}, worst ${ms(Math.max(...pausesMs))}`,
  );
}

/** The highest delay of each worker until `over` resolves. */
async function lagWhile(workers: readonly Member[], over: Promise<unknown>): Promise<number[]> {
  const worst = workers.map(() => 0);
  let isOver = false;
  const ended = over.finally(() => {
    isOver = true;
  });
  while (!isOver) {
    const seen = await Promise.all(workers.map(lagOf));
    for (const [index, value] of seen.entries()) worst[index] = Math.max(worst[index] ?? 0, value);
    await new Promise((resolve) => setTimeout(resolve, SAMPLE_MS));
  }
  await ended;
  return worst;
}

async function lagOf({ statusPort }: Member): Promise<number> {
  const page = await (await fetch(`http://127.0.0.1:${statusPort}/metrics`)).text();
  return Number(LAG.exec(page)?.[1] ?? Number.NaN) * 1000;
}

async function sessionsOf(worker: Member): Promise<number> {
  return ((await worker.view()) as { sessions: unknown[] }).sessions.length;
}

function mostWithin(times: readonly number[], windowMs: number): number {
  const sorted = [...times].sort((a, b) => a - b);
  let first = 0;
  let most = 0;
  for (const [index, time] of sorted.entries()) {
    while ((sorted[first] ?? time) <= time - windowMs) first++;
    most = Math.max(most, index - first + 1);
  }
  return most;
}

function figure(question: string, unit: string, values: readonly number[]) {
  return { question, unit, figures: { ours: summarize(values) } };
}

function ms(value: number): string {
  return `${Math.round(value)} ms`;
}

function seconds(value: number): string {
  return `${(value / 1000).toFixed(1)} s`;
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
