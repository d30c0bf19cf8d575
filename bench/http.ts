/**
 * What does a request, a message, a connection, a body and an idle WebSocket cost in the balancer, compared with nginx and
 * HAProxy on the same core at the same time? CPU time per operation, in interleaved rounds: throughput varies with the load of
 * the machine, CPU time hardly does. Logs, timeouts, size limits and health checks are enabled in all of them.
 *
 * `BENCH_ROUNDS` and `BENCH_SECONDS` reduce the duration, `BENCH_ONLY` selects one question.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildOnce } from "../test/support/build.ts";
import { freePort } from "../test/support/ports.ts";
import { drawChart } from "./support/chart.ts";
import { echo, openTunnels, wrk } from "./support/load.ts";
import { CORES, start } from "./support/process.ts";
import { type Contender, startProxies } from "./support/proxies.ts";
import { type Result, writeResults } from "./support/results.ts";
import { type Summary, summarize } from "./support/statistics.ts";

const ROUNDS = Number(process.env["BENCH_ROUNDS"] ?? 5);
const SECONDS = Number(process.env["BENCH_SECONDS"] ?? 4);
const IDLE_TUNNELS = 2000;
/** Opened and closed first, so that one-time allocations are not counted. */
const WARM_TUNNELS = 200;

interface Question {
  readonly name: string;
  readonly unit: string;
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
];

async function cpuPerOperation(proxy: Contender, load: () => Promise<number>): Promise<number> {
  const before = proxy.program.cpuNs();
  const operations = await load();
  return (proxy.program.cpuNs() - before) / 1000 / operations;
}

/** Memory of an idle tunnel, in a newly started proxy, where no earlier allocation hides it. */
async function idleTunnel(stage: Stage): Promise<Record<string, Summary>> {
  const rounds: Record<string, number[]> = {};
  for (let round = 0; round < Math.min(ROUNDS, 3); round++) {
    const proxies = await stage.startProxies();
    for (const proxy of proxies) {
      for (const tunnel of await openTunnels(proxy.port, WARM_TUNNELS)) tunnel.destroy();
      const before = proxy.program.privateBytes();
      const tunnels = await openTunnels(proxy.port, IDLE_TUNNELS);
      const after = proxy.program.privateBytes();
      for (const tunnel of tunnels) tunnel.destroy();
      rounds[proxy.name] ??= [];
      rounds[proxy.name]?.push((after - before) / 1024 / IDLE_TUNNELS);
      await proxy.program.end();
    }
  }
  return Object.fromEntries(
    Object.entries(rounds).map(([name, figures]) => [name, summarize(figures)]),
  );
}

/** Shared by all questions: the workers behind the proxies, and a folder for files. */
interface Stage {
  readonly folder: string;
  startProxies(): Promise<Contender[]>;
  close(): Promise<void>;
}

async function openStage(): Promise<Stage> {
  await buildOnce();
  const folder = mkdtempSync(join(tmpdir(), "ct-bench-"));
  const ports = await freePorts(3);
  const workers = await start({
    command: [
      process.execPath,
      "--import",
      "tsx",
      fileURLToPath(new URL("support/workers.ts", import.meta.url)),
      ...ports.map(String),
    ],
    core: CORES?.others,
    port: ports[2] ?? 0,
  });
  return {
    folder,
    startProxies: async () => startProxies({ ports: await freePorts(3), workers: ports, folder }),
    async close() {
      await workers.end();
      rmSync(folder, { recursive: true });
    },
  };
}

async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  while (ports.length < count) ports.push(await freePort());
  return ports;
}

export async function run(): Promise<void> {
  const only = process.env["BENCH_ONLY"] ?? "";
  const stage = await openStage();
  const results: Result[] = [];
  const add = (question: string, unit: string, figures: Record<string, Summary>): void => {
    results.push({ question, unit, figures });
    print(question, unit, figures);
  };
  const proxies = await stage.startProxies();
  try {
    for (const question of QUESTIONS) {
      if (!question.name.includes(only)) continue;
      add(question.name, question.unit, await interleave(question, proxies, stage.folder));
    }
    if ("idle WebSocket".includes(only)) {
      add("idle WebSocket", "KiB of memory", await idleTunnel(stage));
    }
  } finally {
    for (const proxy of proxies) await proxy.program.end();
    await stage.close();
  }
  writeResults("http", results);
  if (only === "") drawChart("bench-http", "CPU time and memory beside nginx and HAProxy", results);
}

/** Alternates between the proxies, so that other load on the machine affects all of them. The first round is a warm-up. */
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

function print(question: string, unit: string, figures: Readonly<Record<string, Summary>>): void {
  process.stdout.write(`${question} (${unit})\n`);
  const ours = figures["ours"]?.median ?? Number.NaN;
  for (const [name, { median, min, max }] of Object.entries(figures)) {
    const ratio = name === "ours" ? "" : `  ours/${name} ${(ours / median).toFixed(2)}`;
    process.stdout.write(
      `  ${name.padEnd(8)} ${median.toFixed(1).padStart(7)}  (${min.toFixed(1)}–${max.toFixed(1)})${ratio}\n`,
    );
  }
}
