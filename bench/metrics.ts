/**
 * What do metrics cost? (1) Counting and timing one request on the data path; limit 1 µs; compared with prom-client's own
 * counters and histograms. (2) Publishing with 1,000 sessions and 3,000 people: CPU of one worker that counts, reports, sums
 * the reports of four workers and sends to StatsD, with the store in the same process; limit 0.5 % of a core at the default
 * interval of 10 s. Five interleaved rounds each.
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Counter, Histogram, Registry } from "prom-client";
import { systemClock } from "../shared/base/clock.ts";
import type { Incarnation, WorkerId } from "../shared/base/ids.ts";
import { writeReport } from "../shared/cluster/sums.ts";
import { createLog } from "../shared/logs/log.ts";
import { METRICS } from "../shared/metrics/metric-list.ts";
import { createCounters } from "../shared/metrics/metrics.ts";
import { startPublisher } from "../shared/metrics/statsd/publisher.ts";
import { connectEmbeddedStore } from "../shared/store/embedded/client.ts";
import { startStoreServer } from "../shared/store/embedded/server.ts";
import { Cluster } from "../worker/usage/cluster.ts";
import { createPeopleCounter, createPersonHash } from "../worker/usage/people.ts";
import { writeResults } from "./support/results.ts";
import { size } from "./support/sizes.ts";
import { type Summary, summarize } from "./support/statistics.ts";

const ROUNDS = size("BENCH_ROUNDS", { long: 5, short: 1 });
const REQUESTS = 1_000_000;
const SESSIONS = 1000;
const PEOPLE_PER_SESSION = 3;
const WORKERS = 4;
/** The default interval. The benchmark uses 100 ms, and scales the cost of one interval to this. */
const INTERVAL_MS = 10_000;
const BENCH_INTERVAL_MS = 100;
const INTERVALS = 30;

export async function run(): Promise<void> {
  const perRequest = measureRequests();
  const perInterval = await measurePublishing();
  const share = scale(perInterval, 100 / INTERVAL_MS);
  process.stdout.write(
    [
      "per request, µs (limit 1)      median   min      max",
      `  ours                         ${formatSummary(perRequest.ours)}`,
      `  prom-client                  ${formatSummary(perRequest.peer)}`,
      `publishing, ms CPU/interval    ${formatSummary(perInterval)}`,
      `  % of a core (limit 0.5)      ${formatSummary(share)}`,
      "",
    ].join("\n"),
  );
  writeResults("metrics", [
    {
      question: "counting and timing one request",
      unit: "µs",
      figures: { ours: perRequest.ours, "prom-client": perRequest.peer },
    },
    {
      question: `publishing at ${SESSIONS} sessions and ${INTERVAL_MS} ms`,
      unit: "% of a core",
      figures: { worker: share },
    },
  ]);
}

// --- one request ---

function measureRequests(): { ours: Summary; peer: Summary } {
  const counters = createCounters();
  const registry = new Registry();
  const [requests, routes, answers] = ["requests", "routes", "answers"].map(
    (name) => new Counter({ name, help: name, labelNames: ["tag"], registers: [registry] }),
  ) as [Counter, Counter, Counter];
  const [firstByte, latency] = ["first_byte", "latency"].map(
    (name) => new Histogram({ name, help: name, registers: [registry] }),
  ) as [Histogram, Histogram];

  const ours: number[] = [];
  const peer: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    ours.push(
      microsPerCall(() => {
        const begunMs = systemClock.nowMs();
        counters.count("balancer.requests", "claim");
        counters.count("balancer.routes", "record");
        counters.count("balancer.answers", "2xx");
        counters.observe("balancer.first_byte_ms", systemClock.nowMs() - begunMs);
        counters.observe("balancer.latency_ms", systemClock.nowMs() - begunMs);
      }),
    );
    peer.push(
      microsPerCall(() => {
        const begunMs = systemClock.nowMs();
        requests.inc({ tag: "claim" });
        routes.inc({ tag: "record" });
        answers.inc({ tag: "2xx" });
        firstByte.observe(systemClock.nowMs() - begunMs);
        latency.observe(systemClock.nowMs() - begunMs);
      }),
    );
  }
  return { ours: summarize(ours), peer: summarize(peer) };
}

function microsPerCall(call: () => void): number {
  const { user, system } = process.cpuUsage();
  for (let i = 0; i < REQUESTS; i++) call();
  const used = process.cpuUsage({ user, system });
  return (used.user + used.system) / REQUESTS;
}

// --- publishing ---

/** ms of CPU per interval: two reports, one sum, one batch; the CPU of the idle process is subtracted. */
async function measurePublishing(): Promise<Summary> {
  const rounds: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const idle = await cpuMsOf(() => delay(INTERVALS * BENCH_INTERVAL_MS));
    const close = await publish();
    // Warm-up: code is compiled, and people's hashes are computed once.
    await delay(5 * BENCH_INTERVAL_MS);
    const busy = await cpuMsOf(() => delay(INTERVALS * BENCH_INTERVAL_MS));
    await close();
    rounds.push((busy - idle) / INTERVALS);
  }
  return summarize(rounds);
}

async function publish(): Promise<() => Promise<void>> {
  const folder = mkdtempSync(join(tmpdir(), "ct-bench-"));
  const log = createLog({ name: "b", level: "error", format: "text", sink: process.stderr });
  const server = await startStoreServer({ dataDir: folder, clock: systemClock, log });
  const store = connectEmbeddedStore({ socketPath: server.socketPath, clock: systemClock, log });
  const sink = createSocket("udp4");
  sink.bind(0, "127.0.0.1");
  await once(sink, "listening");

  const sessions = Array.from({ length: SESSIONS }, (_, at) => sessionOf(at));
  const self = { id: "worker-0" as WorkerId, incarnation: "a".repeat(16) as Incarnation };
  const peopleCounter = createPeopleCounter({
    hashOf: createPersonHash(Buffer.alloc(32)),
    sessions: () => sessions,
  });
  for (let other = 1; other < WORKERS; other++) {
    const { users } = peopleCounter();
    const report = {
      incarnation: self.incarnation,
      users,
      recent: new Set<string>(),
      sessions: SESSIONS,
      connections: 3000,
      lagMs: 1,
    };
    await store.report("usage", `worker-${other}` as WorkerId, writeReport(report), 600_000);
  }
  const counters = countersWithEverything();
  const cluster = new Cluster({
    store,
    view: { worker: () => self },
    self,
    peopleCounter,
    recentPeople: { hashes: new Set() },
    lag: { recent: { meanMs: 1, p99Ms: 1, maxMs: 1, utilization: 0, cpu: 0 } },
    leadership: { isLeading: true },
    intervalMs: BENCH_INTERVAL_MS,
    clock: systemClock,
    log,
  });
  const publisher = startPublisher({
    settings: {
      metricsStatsdHost: "127.0.0.1",
      metricsStatsdPort: sink.address().port,
      metricsStatsdProtocol: "udp",
      metricsStatsdOptional: false,
      metricsStatsdTags: "none",
      metricsPrefix: "codetogether",
      metricsIntervalMs: BENCH_INTERVAL_MS,
    },
    source: { role: "worker", id: self.id },
    scopes: ["cluster", "worker", "process"],
    async series() {
      const { series, sent } = await cluster.toSend();
      return { series: [...series, ...counters.series()], sent };
    },
    clock: systemClock,
    log,
  });
  return async () => {
    cluster.close();
    await publisher?.close();
    await store.close();
    await server.close();
    sink.close();
    rmSync(folder, { recursive: true });
  };
}

function sessionOf(at: number) {
  const peers = Array.from({ length: PEOPLE_PER_SESSION }, (_, seat) => {
    const user = { id: `${at}-${seat}`, name: `Person ${at} ${seat}`, authProvider: "simple" };
    return { isConnected: true, waitingBytes: 0, record: { user } };
  });
  return { isOpen: true, peers };
}

/** Every counter with every declared tag, as in a worker where all of them have counted. */
function countersWithEverything() {
  const counters = createCounters();
  for (const [name, metric] of Object.entries(METRICS)) {
    if (metric.scope !== "worker" && metric.scope !== "process") continue;
    const tags: readonly string[] = "values" in metric ? metric.values : [""];
    if (metric.kind === "counter") {
      for (const tag of tags) counters.count(name as never, tag as never);
    } else if (metric.kind === "gauge") {
      counters.gauge(name as never, (() => 1) as never);
    }
  }
  return counters;
}

async function cpuMsOf(action: () => Promise<unknown>): Promise<number> {
  const before = process.cpuUsage();
  await action();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

function scale({ median, min, max }: Summary, by: number): Summary {
  return { median: median * by, min: min * by, max: max * by };
}

function formatSummary({ median, min, max }: Summary): string {
  return [median, min, max].map((value) => value.toFixed(3).padEnd(9)).join("");
}
