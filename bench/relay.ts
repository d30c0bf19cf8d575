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
import { buildOnce } from "../test/support/build.ts";
import { type DrawnProgram, drawChart } from "./support/chart.ts";
import { leaveMeasuredCore } from "./support/process.ts";
import { durationFromEnv, installedVersions, interleave } from "./support/relay/contenders.ts";
import { OURS, PAIRS, type PairKind } from "./support/relay/pairs.ts";
import { SCENARIOS } from "./support/relay/scenarios.ts";
import { type Result, writeResults } from "./support/results.ts";
import { printResults, type Rounds, resultsOf, spread } from "./support/rounds.ts";
import { summarize } from "./support/statistics.ts";

const DURATION = durationFromEnv({ rounds: 5, seconds: 4, warmSeconds: 5 });
const ONLY = process.env["BENCH_ONLY"]?.split("|") ?? [""];
const PEERS = process.env["BENCH_PEERS"]?.toLowerCase().split("|");
const PLACEMENT = process.env["BENCH_CORES"] === "two" ? "two" : "one";

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
  const versions = installedVersions(PAIRS.filter((kind) => kind === OURS || isSelected(kind)));
  const kinds = PAIRS.filter(({ name }) => name in versions);
  const results: Result[] = [];
  for (const scenario of scenarios) {
    const rounds = await interleave(scenario, kinds, { ...DURATION, placement: PLACEMENT });
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

// --- latencies ---

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
