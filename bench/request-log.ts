/**
 * What does logging a request cost? CPU of the balancer for one line, including its share of the writes: to access.log, to the
 * store's stream for the dashboard, to both, or to none. At 500 requests/s every line reaches the store, at 20,000/s 1,000 of
 * them per second. Redis is a separate process; its cost is in bench/README.md. Limit: 2 µs at 20,000/s, which is 5 % of the
 * cheapest request through the balancer (bench/http.ts). Five interleaved rounds; the cost of the pacing loop is subtracted.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTrustedProxies } from "../balancer/http1/forwarding.ts";
import { parseRequestHead } from "../balancer/http1/request-head.ts";
import { createRequestLog } from "../balancer/logs/request-log.ts";
import { systemClock } from "../shared/base/clock.ts";
import { createLogStream } from "../shared/cluster/log-stream.ts";
import { createLog } from "../shared/logs/log.ts";
import { createCounters } from "../shared/metrics/metrics.ts";
import { openStore, startRedis } from "../test/support/redis.ts";
import { writeResults } from "./support/results.ts";
import { size } from "./support/sizes.ts";
import { type Summary, summarize } from "./support/statistics.ts";

const ROUNDS = size("BENCH_ROUNDS", { long: 5, short: 2 });
const ROUND_MS = size("BENCH_SECONDS", { long: 3, short: 0.5 }) * 1000;
const TICK_MS = 5;
const RATES = [500, 20_000] as const;
const WAYS = ["none", "file", "stream", "both"] as const;
type Way = (typeof WAYS)[number];

const SERVED = {
  peerAddress: "192.0.2.17",
  requestLine: "GET /api/session/poll/aB3xY9aB3xY9aB3xY9aB3xY9?timeout=30 HTTP/1.1",
  head: parseRequestHead(
    [
      "GET / HTTP/1.1",
      "Host: edge.example.com",
      "User-Agent: node-fetch/1.0 (+https://github.com/bitinn/node-fetch)",
      "Accept: application/json",
    ].join("\r\n"),
  ),
  status: 200,
  bodyBytes: 117,
};

export async function run(): Promise<void> {
  const redis = await startRedis();
  const { store } = openStore(redis.url);
  await store.timeMs();
  const results: { question: string; unit: string; figures: Record<string, Summary> }[] = [];
  try {
    for (const rate of RATES) {
      const rounds: Record<Way, number[]> = { none: [], file: [], stream: [], both: [] };
      for (let round = 0; round < ROUNDS; round++) {
        for (const way of WAYS) rounds[way].push(await microsPerRequest(way, rate));
      }
      const base = summarize(rounds.none).median;
      const figures: Record<string, Summary> = {};
      for (const way of ["file", "stream", "both"] as const) {
        figures[way] = summarize(rounds[way].map((micros) => micros - base));
      }
      const question = `a logged request at ${rate}/s`;
      results.push({ question, unit: "µs CPU more than without logging", figures });
      process.stdout.write(`${question}, µs CPU more than without logging\n`);
      for (const [way, { median, min, max }] of Object.entries(figures)) {
        const numbers = [median, min, max].map((value) => value.toFixed(2).padEnd(8)).join("");
        process.stdout.write(`  ${way.padEnd(8)}${numbers}\n`);
      }
    }
  } finally {
    await store.close();
    await redis.close();
  }
  writeResults("request-log", results);

  async function microsPerRequest(way: Way, rate: number): Promise<number> {
    const folder = mkdtempSync(join(tmpdir(), "ct-bench-"));
    const clock = systemClock;
    const counters = createCounters();
    const log = createLog({ name: "b", level: "error", format: "text", sink: process.stderr });
    const open = (stream: "log-access" | "log-error") =>
      way === "stream" || way === "both"
        ? createLogStream({ store, stream, source: "balancer-abcd1234", clock, counters })
        : undefined;
    const streams = { access: open("log-access"), error: open("log-error") };
    const limits = { maxBytes: 50 * 1024 * 1024, maxFiles: 3 };
    const requestLog = createRequestLog({
      files: way === "file" || way === "both" ? { folder, limits } : undefined,
      streams,
      trusted: createTrustedProxies([]),
      clock,
      log,
      counters,
    });
    const before = process.cpuUsage();
    const served = await callAtRate(rate, () => requestLog.served(SERVED));
    const { user, system } = process.cpuUsage(before);
    requestLog.close();
    await Promise.all([streams.access?.close(), streams.error?.close()]);
    rmSync(folder, { recursive: true });
    return (user + system) / served;
  }
}

/** Calls `call` `rate` times per second for one round. Resolves with the number of calls. */
function callAtRate(rate: number, call: () => void): Promise<number> {
  return new Promise((resolve) => {
    const begunMs = performance.now();
    let done = 0;
    const timer = setInterval(() => {
      const elapsedMs = performance.now() - begunMs;
      for (; done < (elapsedMs * rate) / 1000; done++) call();
      if (elapsedMs < ROUND_MS) return;
      clearInterval(timer);
      resolve(done);
    }, TICK_MS);
  });
}
