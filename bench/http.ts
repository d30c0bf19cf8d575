/**
 * What does a request, a message, a connection, a body and an idle WebSocket cost in the balancer, beside nginx and HAProxy
 * on the same core in the same minutes? CPU time per operation, in interleaved rounds: throughput moves with the
 * machine, CPU time hardly does. Logs, time limits, size limits and health checks are on for everybody.
 *
 * `BENCH_ROUNDS` and `BENCH_SECONDS` make it shorter, `BENCH_ONLY` takes one question.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort } from "../test/support/ports.ts";
import { echo, openTunnels, wrk } from "./support/load.ts";
import { CORES, start } from "./support/process.ts";
import { type Contender, startProxies } from "./support/proxies.ts";
import { writeResults } from "./support/results.ts";
import { type Summary, summarize } from "./support/statistics.ts";

const ROUNDS = Number(process.env["BENCH_ROUNDS"] ?? 5);
const SECONDS = Number(process.env["BENCH_SECONDS"] ?? 4);
const IDLE_TUNNELS = 2000;

interface Question {
  readonly name: string;
  readonly unit: string;
  /** One figure of one proxy. */
  measure(proxy: Contender, folder: string): Promise<number>;
}

const QUESTIONS: readonly Question[] = [
  {
    name: "small GET, keep-alive",
    unit: "µs CPU per request",
    measure: (proxy) =>
      cpuPerOperation(proxy, () =>
        wrk({ port: proxy.port, path: "/small", connections: 64, seconds: SECONDS }),
      ),
  },
  {
    name: "small GET with a key",
    unit: "µs CPU per request",
    measure: (proxy, folder) =>
      cpuPerOperation(proxy, () =>
        wrk({ port: proxy.port, path: "/", connections: 64, seconds: SECONDS, keysIn: folder }),
      ),
  },
  {
    name: "new connection",
    unit: "µs CPU per connection",
    measure: (proxy) =>
      cpuPerOperation(proxy, () =>
        wrk({
          port: proxy.port,
          path: "/small",
          connections: 16,
          seconds: SECONDS,
          fields: ["Connection: close"],
        }),
      ),
  },
  {
    name: "1 MiB body",
    unit: "µs CPU per MiB",
    measure: (proxy) =>
      cpuPerOperation(proxy, () =>
        wrk({ port: proxy.port, path: "/1m", connections: 8, seconds: SECONDS }),
      ),
  },
  {
    name: "WebSocket echo, 96 bytes, 100 connections",
    unit: "µs CPU per message and back",
    async measure(proxy) {
      const tunnels = await openTunnels(proxy.port, 100);
      const figure = await cpuPerOperation(proxy, () => echo(tunnels, SECONDS));
      for (const tunnel of tunnels) tunnel.destroy();
      return figure;
    },
  },
  {
    name: "idle WebSocket",
    unit: "KiB",
    async measure(proxy) {
      const before = proxy.program.privateBytes();
      const tunnels = await openTunnels(proxy.port, IDLE_TUNNELS);
      // What opening them cost is not what they cost: give collectors time.
      await new Promise((resolve) => setTimeout(resolve, 2000));
      const after = proxy.program.privateBytes();
      for (const tunnel of tunnels) tunnel.destroy();
      await new Promise((resolve) => setTimeout(resolve, 1000));
      return (after - before) / 1024 / IDLE_TUNNELS;
    },
  },
];

async function cpuPerOperation(proxy: Contender, load: () => Promise<number>): Promise<number> {
  const before = proxy.program.cpuNs();
  const operations = await load();
  return (proxy.program.cpuNs() - before) / 1000 / operations;
}

export async function run(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "ct-bench-"));
  const workerPorts = [await freePort(), await freePort(), await freePort()];
  const workers = await start({
    command: [
      process.execPath,
      "--import",
      "tsx",
      fileURLToPath(new URL("support/workers.ts", import.meta.url)),
      ...workerPorts.map(String),
    ],
    core: CORES?.others,
    port: workerPorts[2] ?? 0,
  });
  const ports = [await freePort(), await freePort(), await freePort()];
  const proxies = await startProxies({ ports, workers: workerPorts, folder });
  try {
    const results = [];
    for (const question of QUESTIONS) {
      if (!question.name.includes(process.env["BENCH_ONLY"] ?? "")) continue;
      results.push({
        question: question.name,
        unit: question.unit,
        figures: await interleave(question, proxies, folder),
      });
      print(results.at(-1));
    }
    writeResults("http", results);
  } finally {
    for (const proxy of proxies) await proxy.program.end();
    await workers.end();
    rmSync(folder, { recursive: true });
  }
}

/** One round of each in turn, so that what the machine does meanwhile concerns all alike. The first one warms up. */
async function interleave(
  question: Question,
  proxies: readonly Contender[],
  folder: string,
): Promise<Record<string, Summary>> {
  const rounds = new Map<string, number[]>(proxies.map(({ name }) => [name, []]));
  for (let round = 0; round <= ROUNDS; round++) {
    for (const proxy of proxies) {
      const figure = await question.measure(proxy, folder);
      if (round > 0) rounds.get(proxy.name)?.push(figure);
    }
  }
  return Object.fromEntries([...rounds].map(([name, figures]) => [name, summarize(figures)]));
}

function print(
  result: { question: string; unit: string; figures: Record<string, Summary> } | undefined,
): void {
  if (result === undefined) return;
  process.stdout.write(`${result.question} (${result.unit})\n`);
  const ours = result.figures["ours"]?.median ?? Number.NaN;
  for (const [name, { median, min, max }] of Object.entries(result.figures)) {
    const ratio = name === "ours" ? "" : `  ours/${name} ${(ours / median).toFixed(2)}`;
    process.stdout.write(
      `  ${name.padEnd(8)} ${median.toFixed(1).padStart(7)}  (${min.toFixed(1)}–${max.toFixed(1)})${ratio}\n`,
    );
  }
}
