/**
 * Does an edge cost the same for each person as it grows? Five parts, by their names in `BENCH_ONLY` (separated by `|`):
 *
 * - `routing`: a routing decision with 10 to 100,000 known sessions.
 * - `members`: 10 to 990 simulated workers; `SCALE_MEMBERS` limits them.
 * - `stored`: `SCALE_SESSIONS` (50,000) sessions of three people in Redis.
 * - `idle`: 1,000 to 9,000 idle WebSockets, 15,000 with two processes; `SCALE_SOCKETS` limits them.
 * - `workers`: real messages through 1 to 8 workers, 2 balancers and 2 balancer processes.
 *
 * `BENCH_ROUNDS`, `BENCH_SECONDS` and `BENCH_WARM_SECONDS` set the duration. Linux, with redis-server.
 */
import { buildOnce } from "../test/support/build.ts";
import { drawChart } from "./support/chart.ts";
import { leaveMeasuredCore } from "./support/process.ts";
import { durationFromEnv } from "./support/relay/contenders.ts";
import { type Result, writeResults } from "./support/results.ts";
import { measureGrowingEdge, NET_COST, SHAPES } from "./support/scale/growing-edge.ts";
import { measureIdleSockets } from "./support/scale/idle-sockets.ts";
import { measureManyMembers } from "./support/scale/many-members.ts";
import { measureRoutingDecision } from "./support/scale/routing-decision.ts";
import { measureStoredSessions } from "./support/scale/stored-sessions.ts";

const DURATION = durationFromEnv({ rounds: 3, seconds: 3, warmSeconds: 3 });
const MAX_SOCKETS = Number(process.env["SCALE_SOCKETS"] ?? 15_000);
const MAX_MEMBERS = Number(process.env["SCALE_MEMBERS"] ?? 1000);
const SESSIONS = Number(process.env["SCALE_SESSIONS"] ?? 50_000);
const ONLY = process.env["BENCH_ONLY"]?.split("|");

const DRAWN_UNITS = [NET_COST, "% of a core at rest"];

const PARTS: Readonly<Record<string, () => Promise<Result[]>>> = {
  routing: () => measureRoutingDecision(DURATION.rounds),
  members: () => measureManyMembers({ seconds: DURATION.seconds, maxMembers: MAX_MEMBERS }),
  stored: () => measureStoredSessions(SESSIONS),
  idle: () => measureIdleSockets(MAX_SOCKETS),
  workers: () => measureGrowingEdge(DURATION),
};

export async function run(): Promise<void> {
  leaveMeasuredCore();
  await buildOnce();
  const results: Result[] = [];
  for (const [name, measure] of Object.entries(PARTS)) {
    if (ONLY !== undefined && !ONLY.includes(name)) continue;
    process.stdout.write(`\n--- ${name} ---\n`);
    results.push(...(await measure()));
  }
  if (results.length === 0) throw new Error(`the parts are ${Object.keys(PARTS).join(", ")}`);
  // A part of them would replace the results of all.
  if (ONLY === undefined) writeAll(results);
}

function writeAll(results: readonly Result[]): void {
  writeResults("scale", results);
  drawChart(
    "bench-scale",
    "Balancer and workers as the edge grows: median and range of the rounds",
    results.filter(({ unit }) => DRAWN_UNITS.some((part) => unit.startsWith(part))),
    SHAPES.map(({ name }) => ({ name, label: name, colour: "#2f81f7" })),
  );
}
