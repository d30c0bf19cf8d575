/**
 * How long does it take to empty a worker with 1,000 sessions, and does anybody suffer? Real processes, a real Redis, one
 * balancer, three workers, a host and a guest in each session who talk all the while, all on this machine. The limits are
 * those of a rolling upgrade: done within 60 s, no worker's event loop late by more than 100 ms (one sample in a hundred of
 * the worst second), and never more people admitted in a second than a worker may.
 *
 * Size: DRAIN_SESSIONS (1000), DRAIN_TALK_MS (10000: everybody says something once in so long).
 */
import { fetch } from "undici";
import { systemClock } from "../shared/clock.ts";
import { sendCommand } from "../shared/control/send.ts";
import type { WorkerId } from "../shared/ids.ts";
import { createLog } from "../shared/log.ts";
import { createCounters } from "../shared/metrics.ts";
import { connectRedisStore } from "../shared/store/redis/store.ts";
import { parseRedisUrl } from "../shared/store/redis/target.ts";
import { quantile } from "../test/support/churn.ts";
import { type Cluster, type Member, sees, startCluster } from "../test/support/cluster.ts";
import { until } from "../test/support/until.ts";
import { openLightTeams } from "./support/light-teams.ts";
import { writeResults } from "./support/results.ts";
import { summarize } from "./support/statistics.ts";

const SESSIONS = Number(process.env["DRAIN_SESSIONS"] ?? 1000);
const TALK_MS = Number(process.env["DRAIN_TALK_MS"] ?? 10_000);
const LOOK_MS = 200;
const LAG = /^codetogether_process_lag_p99_seconds(?:\{[^}]*\})? ([\d.e-]+)$/m;

export async function run(): Promise<void> {
  const cluster = await startCluster({
    workers: 1,
    balancers: 1,
    env: { CT_MAX_SESSIONS_PER_USER: "100000", CT_LOG_LEVEL: "warn" },
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
  // Live sessions stay where they are.
  await cluster.addWorker();
  await cluster.addWorker();
  await sees(balancer, 3);
  all.startTalking(TALK_MS);
  const calm = await lagWhile(cluster.workers, aFewSeconds());
  say(`loop lag p99 of the worst second before: ${calm.map(ms).join(", ")}`);

  const store = connectRedisStore({
    target: parseRedisUrl(cluster.redisUrl),
    prefix: "{ct}:",
    name: "bench",
    clock: systemClock,
    log: createLog({ name: "bench", level: "error", format: "text", sink: process.stderr }),
    counters: createCounters(),
  });
  const sinceMs = performance.now();
  const answer = await sendCommand({ store, clock: systemClock }, old.id as WorkerId, {
    kind: "drain",
  });
  if (answer === "no answer" || answer.outcome !== "done") {
    throw new Error(`the drain did not begin: ${JSON.stringify(answer)}`);
  }
  let drainedMs = 0;
  const lag = await lagWhile(
    cluster.workers,
    until("it has no session", async () => (await sessionsOf(old)) === 0, 120_000)
      .then(() => {
        drainedMs = performance.now() - sinceMs;
      })
      .then(() =>
        until(
          "everybody is back",
          () => all.peers.every(({ peer }) => peer.socket.connected),
          60_000,
        ),
      ),
  );
  all.stopTalking();
  await until("everybody has heard everything", () => all.misheard().length === 0, 15_000).catch(
    () => say(`misheard: ${all.misheard().length}`),
  );
  const pauses = all.peers.flatMap(({ lostMs, servedMs }) =>
    lostMs
      .filter((lost) => lost > sinceMs)
      .map((lost) => (servedMs.find((served) => served > lost) ?? Number.NaN) - lost),
  );
  const worstRate = mostWithin(
    all.peers.flatMap(({ servedMs }) => servedMs.filter((served) => served > sinceMs)),
    1000,
  );
  say(`drained in ${seconds(drainedMs)} (limit 60 s)`);
  say(`loop lag p99 of the worst second, by worker: ${lag.map(ms).join(", ")} (limit 100 ms)`);
  say(`most people admitted within a second, all workers together: ${worstRate}`);
  say(
    `${pauses.length} pauses: p50 ${ms(quantile(pauses, 0.5))}, p99 ${ms(quantile(pauses, 0.99))}, worst ${ms(Math.max(...pauses))}`,
  );
  const said = all.peers.reduce((sum, { spoken }) => sum + spoken.length, 0);
  say(`${said} messages, misheard by ${all.misheard().length} of ${all.peers.length}`);
  writeResults("drain", [
    figure(`${SESSIONS} sessions drained from one worker`, "s", [drainedMs / 1000]),
    figure("loop lag p99 of the worst second, by worker", "ms", lag),
    figure("people admitted within the busiest second", "people", [worstRate]),
    figure("pause p99", "ms", [quantile(pauses, 0.99)]),
  ]);
  await store.close();
  await all.close();
}

/** The worst that was seen at each worker until `over` resolves. */
async function lagWhile(workers: readonly Member[], over: Promise<unknown>): Promise<number[]> {
  const worst = workers.map(() => 0);
  let isOver = false;
  const ended = over.finally(() => {
    isOver = true;
  });
  while (!isOver) {
    const seen = await Promise.all(workers.map(lagOf));
    for (const [index, value] of seen.entries()) worst[index] = Math.max(worst[index] ?? 0, value);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  await ended;
  return worst;
}

/** The gauge covers the last 10 s. */
async function lagOf({ statusPort }: Member): Promise<number> {
  const page = await (await fetch(`http://127.0.0.1:${statusPort}/metrics`)).text();
  return Number(LAG.exec(page)?.[1] ?? Number.NaN) * 1000;
}

async function sessionsOf(worker: Member): Promise<number> {
  return ((await worker.view()) as { sessions: unknown[] }).sessions.length;
}

function aFewSeconds(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 12_000));
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
