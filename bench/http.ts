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
import { type Figures, printResults, type Rounds, resultsOf } from "./support/rounds.ts";
import { isPart, selector, size } from "./support/sizes.ts";

const ROUNDS = size("BENCH_ROUNDS", { long: 5, short: 1 });
const SECONDS = size("BENCH_SECONDS", { long: 4, short: 1 });
const WARM_SECONDS = size("BENCH_WARM_SECONDS", { long: 5, short: 2 });
const isAsked = selector("BENCH_ONLY", {
  short: [
    "small GET, 6,000/s",
    "1 MiB body",
    "WebSocket echo, 96 bytes, 100 connections",
    "idle WebSocket",
  ],
});
const isPeer = selector("BENCH_PEERS", { short: ["nginx", "HAProxy"] });

export async function run(): Promise<void> {
  leaveMeasuredCore();
  const questions = QUESTIONS.filter(({ name }) => isAsked(name));
  if (questions.length === 0) throw new Error("BENCH_ONLY selects no question");
  const versions = readVersions(PROXIES.filter((kind) => kind === OURS || isPeer(kind.name)));
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
  if (isPart("BENCH_ONLY")) return;
  const named = Object.fromEntries([...versions].map(([{ name }, version]) => [name, version]));
  writeResults("http", results, named);
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
