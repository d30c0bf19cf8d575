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
import { leaveMeasuredCore } from "./support/process.ts";
import { durationFromEnv, installedVersions, interleave } from "./support/relay/contenders.ts";
import { OURS, PAIRS } from "./support/relay/pairs.ts";
import { SCENARIOS } from "./support/relay/scenarios.ts";
import { type Result, writeResults } from "./support/results.ts";
import { printResults, type Rounds, resultsOf, spread } from "./support/rounds.ts";
import { isPart, selector } from "./support/sizes.ts";
import { summarize } from "./support/statistics.ts";

const DURATION = durationFromEnv({
  long: { rounds: 5, seconds: 4, warmSeconds: 5 },
  short: { rounds: 1, seconds: 1, warmSeconds: 2 },
});
const isAsked = selector("BENCH_ONLY", {
  short: ["1 host and 9 guests, 18,000 delivered/s", "WebSocket echo, 100 connections"],
});
const isPeer = selector("BENCH_PEERS");
const PLACEMENT = process.env["BENCH_CORES"] === "two" ? "two" : "one";

export async function run(): Promise<void> {
  leaveMeasuredCore();
  await buildOnce();
  const scenarios = SCENARIOS.filter(({ name }) => isAsked(name));
  if (scenarios.length === 0) throw new Error("BENCH_ONLY selects no scenario");
  const versions = installedVersions(PAIRS.filter((kind) => kind === OURS || isPeer(kind.name)));
  const kinds = PAIRS.filter(({ name }) => name in versions);
  const results: Result[] = [];
  for (const scenario of scenarios) {
    const rounds = await interleave(scenario, kinds, { ...DURATION, placement: PLACEMENT });
    const answers = resultsOf(scenario.name, rounds, OURS.name);
    results.push(...answers);
    printResults(scenario.name, answers);
    printDifferences(rounds);
  }
  if (!isPart("BENCH_ONLY", "BENCH_PEERS")) writeResults("relay", results, versions);
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
