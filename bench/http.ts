/**
 * What does a request, a message, a connection, a body and an idle WebSocket cost in the balancer, compared with other proxies
 * on the same core at the same time? CPU time per operation, in interleaved rounds: throughput varies with the load of the
 * machine, CPU time hardly does. Logs, timeouts, size limits and health checks are enabled in all of them.
 *
 * `BENCH_ROUNDS`, `BENCH_SECONDS` and `BENCH_WARM_SECONDS` set the duration; `BENCH_ONLY` (parts of questions' names) and
 * `BENCH_PEERS` (names of peers), both separated by `|`, select; `BENCH_NODE` is another Node binary for the balancer.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type CertificateFiles, keepCertificate } from "../edge/start/certificate.ts";
import { buildOnce } from "../test/support/build.ts";
import { freePort } from "../test/support/ports.ts";
import { type DrawnProgram, drawChart } from "./support/chart.ts";
import { QUESTIONS, type Question } from "./support/http-questions.ts";
import { CORES, leaveMeasuredCore, type Program, start } from "./support/process.ts";
import {
  type Contender,
  type ContenderKind,
  DIRECT,
  OURS,
  PROXIES,
  readVersions,
  startProxy,
} from "./support/proxies.ts";
import { type Result, writeResults } from "./support/results.ts";
import {
  type Figures,
  OTHER_LOAD,
  printResults,
  type Rounds,
  resultsOf,
} from "./support/rounds.ts";

const ROUNDS = Number(process.env["BENCH_ROUNDS"] ?? 5);
const SECONDS = Number(process.env["BENCH_SECONDS"] ?? 4);
const WARM_SECONDS = Number(process.env["BENCH_WARM_SECONDS"] ?? 5);
const ONLY = process.env["BENCH_ONLY"]?.split("|") ?? [""];
const PEERS = process.env["BENCH_PEERS"]?.toLowerCase().split("|");
const NOT_DRAWN = ["small GET, 1,000/s", "small GET with a key, saturated", "20 MiB body"];

export async function run(): Promise<void> {
  leaveMeasuredCore();
  const questions = QUESTIONS.filter(({ name }) => ONLY.some((part) => name.includes(part)));
  if (questions.length === 0) throw new Error(`no question's name contains ${ONLY.join(" or ")}`);
  const versions = readVersions(PROXIES.filter((kind) => kind === OURS || isSelected(kind)));
  const kinds = [...versions.keys()];
  const stage = await openStage();
  const results: Result[] = [];
  const ask = async (question: Question, start: StartForRound): Promise<void> => {
    const peers = kinds.filter((kind) => kind !== DIRECT || question.isLatency === true);
    const rounds = await interleave(question, peers, start);
    const answers = resultsOf(question.name, rounds, OURS.name);
    results.push(...answers);
    printResults(question.name, answers);
  };
  try {
    for (const question of questions) {
      await ask(question, question.isFresh === true ? stage.startFresh : stage.startOnce);
    }
  } finally {
    await stage.close();
  }
  // A part of the questions would replace the results of all.
  if (questions.length < QUESTIONS.length) return;
  const named = Object.fromEntries([...versions].map(([{ name }, version]) => [name, version]));
  writeResults("http", results, named);
  drawChart(
    "bench-http",
    "Cost and latency of traffic: median and range of the rounds; shorter is better",
    drawn(results),
    [
      { name: OURS.name, label: "this balancer", colour: "#2f81f7" },
      newer("nginx", named, "#3fa45b"),
      newer("HAProxy", named, "#a371f7"),
      { name: "Caddy", label: `Caddy ${named["Caddy"]}`, colour: "#d29922" },
      { name: "http-proxy", label: "http-proxy", colour: "#db6d6d" },
    ].filter(({ name }) => name in named),
  );
}

function drawn(results: readonly Result[]): Result[] {
  return results.filter(
    ({ question, unit }) =>
      !NOT_DRAWN.includes(question) && unit !== "per second" && unit !== OTHER_LOAD,
  );
}

/** Of the two versions of a peer the newer one, if it was measured. */
function newer(
  peer: string,
  versions: Readonly<Record<string, string>>,
  colour: string,
): DrawnProgram {
  const name = `${peer}-new` in versions ? `${peer}-new` : peer;
  return { name, label: `${peer} ${versions[name]}`, colour };
}

function isSelected({ name }: ContenderKind): boolean {
  return PEERS === undefined || PEERS.includes(name.toLowerCase());
}

// --- workers and proxies ---

/** A started proxy, and what to do after its round. */
type StartForRound = (
  kind: ContenderKind,
) => Promise<{ readonly proxy: Contender; readonly afterRound: () => Promise<void> }>;

interface Stage {
  /** A new process for each round. */
  readonly startFresh: StartForRound;
  /** The same process for all rounds and questions. */
  readonly startOnce: StartForRound;
  close(): Promise<void>;
}

async function openStage(): Promise<Stage> {
  await buildOnce();
  const folder = mkdtempSync(join(tmpdir(), "ct-bench-"));
  const certificate = await keepCertificate({
    dataDir: folder,
    serverUrl: undefined,
    nowMs: Date.now(),
  });
  const { ports, program } = await startWorkers();
  const options: { workers: number[]; folder: string; certificate: CertificateFiles } = {
    workers: ports,
    folder,
    certificate,
  };
  const running = new Map<ContenderKind, Contender>();
  return {
    async startFresh(kind) {
      const proxy = await startProxy(kind, options);
      return { proxy, afterRound: () => proxy.program.end() };
    },
    async startOnce(kind) {
      const proxy = running.get(kind) ?? (await startProxy(kind, options));
      running.set(kind, proxy);
      return { proxy, afterRound: async () => {} };
    },
    async close() {
      for (const proxy of running.values()) await proxy.program.end();
      await program.end();
      rmSync(folder, { recursive: true });
    },
  };
}

async function startWorkers(): Promise<{ ports: number[]; program: Program }> {
  const ports = [await freePort(), await freePort(), await freePort()];
  const file = fileURLToPath(new URL("support/workers.ts", import.meta.url));
  const program = await start({
    command: [process.execPath, "--import", "tsx", file, ...ports.map(String)],
    core: CORES?.others,
    port: ports[2] ?? 0,
  });
  return { ports, program };
}

// --- rounds ---

/** Alternates between the proxies, so that other load on the machine affects all of them. Each is warmed up first. */
async function interleave(
  question: Question,
  kinds: readonly ContenderKind[],
  startForRound: StartForRound,
): Promise<Rounds> {
  const rounds = new Map<string, Figures[]>(kinds.map(({ name }) => [name, []]));
  const warmUp = question.warmUp ?? question.measure;
  for (let round = 0; round < ROUNDS; round++) {
    for (const kind of kinds) {
      const { proxy, afterRound } = await startForRound(kind);
      try {
        if (round === 0 && question.isFresh !== true) await warmUp(proxy, WARM_SECONDS);
        rounds.get(kind.name)?.push(await question.measure(proxy, SECONDS));
      } finally {
        await afterRound();
      }
    }
  }
  return rounds;
}
