/** What a delivered message costs as an edge grows: 1 to 8 workers, and a second balancer or balancer process. */
import { setTimeout as delay } from "node:timers/promises";
import { describePowerLaw, fitPowerLaw } from "../growth-law.ts";
import { type Duration, interleave } from "../relay/contenders.ts";
import type { Load } from "../relay/load.ts";
import type { Pair } from "../relay/pairs.ts";
import { measureCosts, relayed, type Scenario } from "../relay/scenarios.ts";
import type { Result } from "../results.ts";
import {
  type Figures,
  OTHER_LOAD,
  printResults,
  type Rounds,
  resultsOf,
  spread,
} from "../rounds.ts";
import { summarize, summarizeRatios } from "../statistics.ts";
import { type FleetShape, fleetKind } from "./fleets.ts";

const SHAPES: readonly FleetShape[] = [
  { name: "1 worker", workers: 1, balancers: 1, processes: 1 },
  { name: "2 workers", workers: 2, balancers: 1, processes: 1 },
  { name: "4 workers", workers: 4, balancers: 1, processes: 1 },
  { name: "8 workers", workers: 8, balancers: 1, processes: 1 },
  { name: "8, 2 bal.", workers: 8, balancers: 2, processes: 1 },
  { name: "8, 2 proc.", workers: 8, balancers: 1, processes: 2 },
];
const [CONTROL] = SHAPES as [FleetShape];
/** Of a host and two guests, in each edge. */
const SESSIONS = 64;
/** Delivered messages a second; eight workers have both. */
const PER_WORKER = 375;
const TOTAL = 3000;

const COST = "µs CPU per delivered message, both";
const OTHER_COSTS = ["µs CPU per delivered message, proxy", "µs CPU per delivered message, server"];
const LATENCY = "µs latency, p99";
/** Of a message, less what the processes use at rest in the time. */
const NET_COST = "µs CPU per delivered message, rest subtracted";
const REST = "% of a core at rest, all processes";

export async function measureGrowingEdge(duration: Duration): Promise<Result[]> {
  const scenario: Scenario = {
    name: "as the edge grows",
    sessions: { sessions: SESSIONS, people: 3, frames: "broadcast" },
    measure,
    // Each worker compiles its code by the messages that it gets.
    warmUp: (pair, load, seconds) => relayed(pair, load, TOTAL, seconds * shapeOf(pair).workers),
  };
  const kinds = SHAPES.map(fleetKind);
  const rounds = await interleave(scenario, kinds, { ...duration, placement: "one" });
  const results = resultsOf(scenario.name, rounds, CONTROL.name);
  printResults(scenario.name, results);
  printGrowth(rounds);
  return results;
}

function shapeOf({ name }: Pair): FleetShape {
  return SHAPES.find((shape) => shape.name === name) ?? CONTROL;
}

const perWorker = (unit: string): string => `${unit} (${PER_WORKER}/s for each worker)`;
const inAll = (unit: string): string => `${unit} (${TOTAL.toLocaleString("en")}/s in all)`;

/** What the processes use at rest, then at both rates. */
async function measure(pair: Pair, load: Load, seconds: number): Promise<Figures> {
  const rest = await measureCosts(pair, () => delay(seconds * 1000));
  const restUs = (rest.proxyUs + rest.serverUs) / rest.seconds;
  const figures: Record<string, number> = { [REST]: restUs / 1e4 };
  for (const [name, rate] of [
    [perWorker, PER_WORKER * shapeOf(pair).workers],
    [inAll, TOTAL],
  ] as const) {
    const relay = await relayed(pair, load, rate, seconds);
    for (const unit of [COST, ...OTHER_COSTS, LATENCY, OTHER_LOAD]) {
      figures[name(unit)] = relay[unit] ?? Number.NaN;
    }
    figures[name(NET_COST)] = (relay[COST] ?? Number.NaN) - restUs / rate;
  }
  return figures;
}

/** Each edge's cost as a multiple of the control's in the same round, and the law from 1 to 8 workers. */
function printGrowth(rounds: Rounds): void {
  for (const unit of [COST, NET_COST].flatMap((one) => [perWorker(one), inAll(one)])) {
    const of = (name: string): number[] =>
      (rounds.get(name) ?? []).map((figures) => figures[unit] ?? Number.NaN);
    process.stdout.write(`  ${unit}, as a multiple of ${CONTROL.name}'s\n`);
    for (const { name } of SHAPES.slice(1)) {
      const ratio = summarizeRatios(of(name), of(CONTROL.name));
      process.stdout.write(`    ${name.padEnd(16)}${spread(ratio, 2)}\n`);
    }
    const law = fitPowerLaw(
      SHAPES.filter(({ balancers, processes }) => balancers * processes === 1).map(
        ({ name, workers }) => ({ size: workers, figure: summarize(of(name)).median }),
      ),
    );
    process.stdout.write(`    with n workers: ${describePowerLaw(law)}\n`);
  }
}
