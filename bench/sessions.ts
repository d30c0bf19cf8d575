/**
 * What do people in sessions cost, and how many can one worker have? Real sign-in, sessions and sockets; ready-made messages, as
 * in relay.ts. Three parts, by their names in `BENCH_ONLY` (separated by `|`):
 *
 * - `matrix`: sessions × people × edits a second: CPU of balancer and worker per delivered message, latency.
 * - `memory`: private memory per person at 900 people.
 * - `knee`: messages a second until they are late, with a core for the worker.
 *
 * `SESSIONS_SHAPES` (`1x10,100x3`) selects sizes; `BENCH_ROUNDS`, `BENCH_SECONDS` and `BENCH_WARM_SECONDS` set the duration. The
 * reference OCT server is measured beside ours if `BENCH_REFERENCE` names a built checkout of it.
 */
import { webcrypto } from "node:crypto";
import { Encryption, initializeProtocol } from "open-collaboration-protocol";
import { buildOnce } from "../test/support/build.ts";
import { leaveMeasuredCore } from "./support/process.ts";
import { durationFromEnv, installedVersions, interleave } from "./support/relay/contenders.ts";
import { cellsOf, kneeOf, matrixRow, memoryOf, parseShape } from "./support/relay/matrix.ts";
import { OURS, PAIRS } from "./support/relay/pairs.ts";
import type { Scenario } from "./support/relay/scenarios.ts";
import { type Result, writeResults } from "./support/results.ts";
import { printResults, resultsOf } from "./support/rounds.ts";
import { FORM, isPart, selector } from "./support/sizes.ts";

const DURATION = durationFromEnv({
  long: { rounds: 3, seconds: 3, warmSeconds: 3 },
  short: { rounds: 1, seconds: 1, warmSeconds: 1 },
});
const isAsked = selector("BENCH_ONLY", { short: ["matrix"] });
const ALL_SHAPES = "1x10,10x3,10x10,100x3,300x3,30x30";
const SHAPES = (process.env["SESSIONS_SHAPES"] ?? (FORM === "short" ? "10x3" : ALL_SHAPES))
  .split(",")
  .map(parseShape);
/** Sizes with their first rates. */
const KNEES = [
  [{ sessions: 1, people: 10 }, 20_000],
  [{ sessions: 100, people: 3 }, 6000],
] as const;
const NINE_HUNDRED = [
  { sessions: 300, people: 3 },
  { sessions: 30, people: 30 },
];

export async function run(): Promise<void> {
  leaveMeasuredCore();
  await buildOnce();
  const versions = installedVersions(
    PAIRS.filter((kind) => kind === OURS || kind.name === "reference"),
  );
  const kinds = PAIRS.filter(({ name }) => name in versions);
  const results: Result[] = [];
  for (const scenario of await scenarios()) {
    const rounds = await interleave(scenario, kinds, { ...DURATION, placement: "one" });
    for (const [cell, ofCell] of cellsOf(rounds)) {
      const question = cell === "" ? scenario.name : `${scenario.name}, ${cell}`;
      const answers = resultsOf(question, ofCell, OURS.name);
      results.push(...answers);
      printResults(question, answers);
    }
  }
  if (!isPart("BENCH_ONLY", "SESSIONS_SHAPES")) writeResults("sessions", results, versions);
}

async function scenarios(): Promise<Scenario[]> {
  initializeProtocol({ cryptoModule: webcrypto as never });
  const { publicKey } = await Encryption.generateKeyPair();
  const parts: Readonly<Record<string, readonly Scenario[]>> = {
    matrix: SHAPES.map(matrixRow),
    memory: NINE_HUNDRED.map((shape) => memoryOf(shape, publicKey)),
    knee: KNEES.map(([shape, firstRate]) => kneeOf(shape, firstRate)),
  };
  const selected = Object.entries(parts).filter(([name]) => isAsked(name));
  if (selected.length === 0) throw new Error(`the parts are ${Object.keys(parts).join(", ")}`);
  return selected.flatMap(([, all]) => all);
}
