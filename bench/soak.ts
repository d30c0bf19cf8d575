/**
 * The long haul: is anything lost, and does anything grow, while a real edge works for ten minutes or for hours? Redis, two
 * balancers and three workers, each a process of its own; sessions of three who talk all the time, sessions that open and
 * close, clients that reconnect; and one after the other, in a random order, killed, drained and restarted processes. Limits:
 * no session is lost; no message is lost, doubled or reordered between people who stay connected; memory and descriptors of
 * the worker and the balancer that run all the time do not grow.
 *
 * `SOAK_MINUTES` (10) or `SOAK_HOURS`; `SOAK_SESSIONS` (40), `SOAK_TALK_MS` (1,000: a message of each person) set the load;
 * `SOAK_SEED` repeats an order.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { Redis } from "ioredis";
import { createRandom } from "../test/model/random.ts";
import { type Cluster, startCluster } from "../test/support/cluster.ts";
import { type Line, openLine } from "../test/support/cut.ts";
import { until } from "../test/support/until.ts";
import { writeResults } from "./support/results.ts";
import { size } from "./support/sizes.ts";
import { Crowd } from "./support/soak/crowd.ts";
import { inRandomOrder, type Stage } from "./support/soak/disturbances.ts";
import {
  failuresOf,
  type Handled,
  printMinute,
  printSummary,
  resultsOf,
  type Soaked,
  timelineOf,
} from "./support/soak/report.ts";
import { COLLECTS_GARBAGE, type Sample, takeSamples } from "./support/soak/samples.ts";

const HOURS = size("SOAK_HOURS", { long: 0, short: 0 });
const MINUTES = HOURS > 0 ? HOURS * 60 : size("SOAK_MINUTES", { long: 10, short: 0.75 });
const SESSIONS = size("SOAK_SESSIONS", { long: 40, short: 20 });
const TALK_MS = size("SOAK_TALK_MS", { long: 1000, short: 1000 });
const SEED = size("SOAK_SEED", { long: 1, short: 1 });
/** About 30 samples in ten minutes, so that a slope is above their noise; one a minute in a run of hours. */
const SAMPLE_MS = MINUTES > 30 ? 60_000 : MINUTES < 5 ? 10_000 : 20_000;
const CLOSE_EVERY_MS = 2000;
const DROP_EVERY_MS = 2000;
/** Between two disturbances, when all people hear each other again. */
const PAUSE_MS = { from: 2000, to: 8000 };
const RECORDS_MS = 30_000;
const RELEASED_MS = 30_000;

export async function run(): Promise<void> {
  const cluster = await startCluster({
    workers: 3,
    balancers: 2,
    env: { CT_MAX_SESSIONS_PER_USER: "100000", CT_LOG_LEVEL: "error", ...COLLECTS_GARBAGE },
  });
  const lines = await openLines(cluster);
  try {
    const soaked = await soak(cluster, lines);
    printSummary(soaked);
    writeResults("soak", resultsOf(soaked), undefined, timelineOf(soaked));
    const failures = failuresOf(soaked);
    if (failures.length > 0) throw new Error(`limits not kept: ${failures.join("; ")}`);
  } finally {
    for (const line of lines) await line.close();
    await cluster.dispose();
  }
}

/** One for each balancer; its clients use the other one while it does not run. */
async function openLines({ balancers }: Cluster): Promise<Line[]> {
  const ports = (): number[] => balancers.map(({ port }) => port);
  return [await openLine(ports), await openLine(() => ports().reverse())];
}

async function soak(cluster: Cluster, lines: readonly Line[]): Promise<Soaked> {
  const admin = cluster.redis.admin();
  const random = createRandom(SEED);
  const crowd = new Crowd({
    urls: lines.map(({ port }) => `http://127.0.0.1:${port}`),
    sessions: SESSIONS,
    talkMs: TALK_MS,
    closeEveryMs: CLOSE_EVERY_MS,
    dropEveryMs: DROP_EVERY_MS,
    random,
  });
  const atStart = await takeSamples(cluster, admin);
  await crowd.open();
  crowd.startChurn();
  const startMs = performance.now();
  const endMs = startMs + MINUTES * 60_000;
  process.stdout.write(`${SESSIONS} sessions of three are open; seed ${SEED}\n`);
  const samples: Sample[] = [];
  const handled: Handled[] = [];
  const sampling = sampleUntil(endMs, async () => {
    samples.push(...(await takeSamples(cluster, admin)));
    printMinute({ startMs, crowd, samples, handled });
  });
  await disturbUntil(endMs, { cluster, admin, random }, crowd, handled);
  await sampling;
  await crowd.stopChurn();
  await crowd.recovered(performance.now());
  await crowd.settle();
  const counts = crowd.counts();
  const { disconnects } = crowd;
  crowd.close();
  const atEnd = await afterRelease(cluster, admin, atStart);
  return {
    minutes: MINUTES,
    startMs,
    samples,
    handled,
    atStart,
    atEnd,
    crowd,
    counts,
    disconnects,
  };
}

async function sampleUntil(endMs: number, act: () => Promise<void>): Promise<void> {
  for (let dueMs = performance.now(); dueMs <= endMs; dueMs += SAMPLE_MS) {
    await delay(Math.max(0, dueMs - performance.now()));
    await act();
  }
}

async function disturbUntil(
  endMs: number,
  stage: Stage,
  crowd: Crowd,
  handled: Handled[],
): Promise<void> {
  for (const { name, run } of inRandomOrder(stage.random)) {
    await delay(stage.random.between(PAUSE_MS.from, PAUSE_MS.to));
    if (performance.now() > endMs) return;
    const atMs = performance.now();
    const before = crowd.disconnects;
    crowd.disturbedMs = atMs;
    await run(stage);
    await crowd.recovered(performance.now());
    const recoveredMs = performance.now() - atMs;
    const unrecorded = await unrecordedSessions(stage.admin, crowd);
    handled.push({ name, atMs, recoveredMs, unrecorded, disconnects: crowd.disconnects - before });
  }
}

/** Sessions that people are in, and that the store does not have after half a minute. */
async function unrecordedSessions(admin: Redis, crowd: Crowd): Promise<number> {
  let missing: string[] = [];
  const areAll = async (): Promise<boolean> => {
    const ids = crowd.sessions.map(({ id }) => id);
    const known = await Promise.all(ids.map((id) => admin.exists(`{ct}:session:${id}`)));
    missing = ids.filter((_, index) => known[index] === 0);
    return missing.length === 0;
  };
  await until("the store has all sessions", areAll, RECORDS_MS).catch(() => {});
  return missing.length;
}

/** When all clients have left, descriptors are as at the start, or half a minute has passed. */
async function afterRelease(
  cluster: Cluster,
  admin: Redis,
  atStart: readonly Sample[],
): Promise<readonly Sample[]> {
  let samples: readonly Sample[] = [];
  const isReleased = async (): Promise<boolean> => {
    samples = await takeSamples(cluster, admin);
    return samples.every(({ name, pid, descriptors }) => {
      const before = atStart.find((one) => one.name === name && one.pid === pid);
      return before === undefined || descriptors <= before.descriptors;
    });
  };
  await until("descriptors are as at the start", isReleased, RELEASED_MS).catch(() => {});
  return samples;
}
