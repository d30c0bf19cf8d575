/**
 * What do a message between people, a WebSocket and a small request cost in balancer and worker together, compared with nginx
 * before the same worker and before the reference OCT server? Real sign-in, sessions and sockets, with ready-made messages;
 * CPU time of both processes per message that a person receives, in interleaved rounds.
 *
 * `BENCH_ROUNDS`, `BENCH_SECONDS` and `BENCH_WARM_SECONDS` set the duration; `BENCH_ONLY` (parts of scenarios' names) and
 * `BENCH_PEERS` (names of pairs), both separated by `|`, select; `BENCH_REFERENCE` is a built checkout of the reference
 * server, `BENCH_NGINX` another nginx. With
 * `BENCH_CORES=two`, proxy and server do not share a core.
 */
import { webcrypto } from "node:crypto";
import { Encryption, initializeProtocol } from "open-collaboration-protocol";
import { buildOnce } from "../test/support/build.ts";
import { type DrawnProgram, drawChart } from "./support/chart.ts";
import { leaveMeasuredCore } from "./support/process.ts";
import { type Load, startLoad } from "./support/relay/load.ts";
import { OURS, PAIRS, type Pair, type PairKind } from "./support/relay/pairs.ts";
import { SCENARIOS, type Scenario } from "./support/relay/scenarios.ts";
import { type Result, writeResults } from "./support/results.ts";
import { type Figures, printResults, type Rounds, resultsOf, spread } from "./support/rounds.ts";
import { summarize } from "./support/statistics.ts";

const ROUNDS = Number(process.env["BENCH_ROUNDS"] ?? 5);
const SECONDS = Number(process.env["BENCH_SECONDS"] ?? 4);
const WARM_SECONDS = Number(process.env["BENCH_WARM_SECONDS"] ?? 5);
const ONLY = process.env["BENCH_ONLY"]?.split("|") ?? [""];
const PEERS = process.env["BENCH_PEERS"]?.toLowerCase().split("|");
const PLACEMENT = process.env["BENCH_CORES"] === "two" ? "two" : "one";
/** Connections of our balancer to its worker, beyond which the streams are not on links. */
const MAX_LINKS = 5;

const DRAWN: readonly DrawnProgram[] = [
  { name: "ours", label: "this edge", colour: "#2f81f7" },
  { name: "no link", label: "… CT_LINK=off", colour: "#79b8ff" },
  { name: "nginx", label: "nginx", colour: "#3fa45b" },
  { name: "reference", label: "nginx, reference", colour: "#d29922" },
];
const DRAWN_UNITS = [", both", "latency, p50", "latency, p99", "delivered per second"];

export async function run(): Promise<void> {
  leaveMeasuredCore();
  await buildOnce();
  const scenarios = SCENARIOS.filter(({ name }) => ONLY.some((part) => name.includes(part)));
  if (scenarios.length === 0) throw new Error(`no scenario's name contains ${ONLY.join(" or ")}`);
  const versions = readVersions(PAIRS.filter((kind) => kind === OURS || isSelected(kind)));
  const kinds = PAIRS.filter(({ name }) => name in versions);
  initializeProtocol({ cryptoModule: webcrypto as never });
  const { publicKey } = await Encryption.generateKeyPair();
  const results: Result[] = [];
  for (const scenario of scenarios) {
    const rounds = await interleave(scenario, kinds, publicKey);
    const answers = resultsOf(scenario.name, rounds, OURS.name);
    results.push(...answers);
    printResults(scenario.name, answers);
    printDifferences(rounds);
  }
  // A part of the scenarios or pairs would replace the results of all.
  if (scenarios.length < SCENARIOS.length || PEERS !== undefined) return;
  writeResults("relay", results, versions);
  drawChart(
    "bench-relay",
    "Cost and latency of sessions, proxy and server together: median and range of the rounds",
    results.filter(({ unit }) => DRAWN_UNITS.some((part) => unit.endsWith(part))),
    DRAWN.filter(({ name }) => name in versions),
  );
}

function isSelected({ name }: PairKind): boolean {
  return PEERS === undefined || PEERS.includes(name);
}

/** Versions by name of those that are installed; prints them, and how to get the others. */
function readVersions(kinds: readonly PairKind[]): Record<string, string> {
  const versions: Record<string, string> = {};
  for (const kind of kinds) {
    const version = kind.version();
    if (version !== undefined) versions[kind.name] = version;
    process.stdout.write(
      version === undefined
        ? `${kind.name} is skipped; to include it: ${kind.install}\n`
        : `${kind.name}: ${version}\n`,
    );
  }
  return versions;
}

// --- rounds ---

interface Contender {
  readonly name: string;
  readonly pair: Pair;
  readonly load: Load;
}

/** Alternates between the pairs, so that other load on the machine affects all of them. Each is warmed up first. */
async function interleave(
  scenario: Scenario,
  kinds: readonly PairKind[],
  publicKey: string,
): Promise<Rounds> {
  const rounds = new Map<string, Figures[]>(kinds.map(({ name }) => [name, []]));
  const measure = async ({ name, pair, load }: Contender): Promise<void> => {
    rounds.get(name)?.push(await scenario.measure(pair, load, SECONDS));
  };
  if (scenario.isFresh === true) {
    for (let round = 0; round < ROUNDS; round++) {
      for (const kind of kinds) await withContenders([kind], scenario, publicKey, measureAll);
    }
  } else {
    await withContenders(kinds, scenario, publicKey, async (contenders) => {
      const warmUp = scenario.warmUp ?? scenario.measure;
      for (const { pair, load } of contenders) await warmUp(pair, load, WARM_SECONDS);
      for (let round = 0; round < ROUNDS; round++) await measureAll(contenders);
    });
  }
  return rounds;

  async function measureAll(contenders: readonly Contender[]): Promise<void> {
    for (const contender of contenders) await measure(contender);
  }
}

/** Starts the pairs with their people, and ends all of them afterwards. */
async function withContenders(
  kinds: readonly PairKind[],
  { sessions, isOnTwoCores }: Scenario,
  publicKey: string,
  use: (contenders: readonly Contender[]) => Promise<void>,
): Promise<void> {
  const contenders: Contender[] = [];
  try {
    for (const kind of kinds) {
      const pair = await kind.start(isOnTwoCores === true ? "two" : PLACEMENT);
      const load = startLoad();
      contenders.push({ name: kind.name, pair, load });
      if (sessions === undefined) continue;
      await load.openSessions({ ...sessions, port: pair.port, publicKey });
      if (kind === OURS) requireLink(pair);
    }
    await use(contenders);
  } finally {
    for (const { pair, load } of contenders) {
      await load.close();
      await pair.end();
    }
  }
}

/** Otherwise the figures would be those of another way. */
function requireLink(pair: Pair): void {
  const connections = pair.connections();
  if (connections <= MAX_LINKS) return;
  throw new Error(`the balancer has ${connections} connections to its worker instead of a link`);
}

/** Latencies of ours minus those of each peer in the same round: a ratio says little about a few microseconds. */
function printDifferences(rounds: Rounds): void {
  const ours = rounds.get(OURS.name) ?? [];
  for (const unit of Object.keys(ours[0] ?? {}).filter((name) => name.includes("latency"))) {
    for (const [name, theirs] of rounds) {
      if (name === OURS.name) continue;
      const differences = ours.map(
        (figures, round) => (figures[unit] ?? Number.NaN) - (theirs[round]?.[unit] ?? Number.NaN),
      );
      process.stdout.write(`  ${unit}, ours minus ${name}: ${spread(summarize(differences), 0)}\n`);
    }
  }
}
