/**
 * Does an edge cost the same for each person as it grows? Five parts, by their names in `BENCH_ONLY` (separated by `|`):
 *
 * - `routing`: a routing decision with 10 to 1,000,000 known sessions.
 * - `members`: 10 to 990 simulated workers; `SCALE_MEMBERS` limits them.
 * - `stored`: `SCALE_SESSIONS` (50,000) sessions of three people in Redis.
 * - `idle`: 1,000 to 9,000 idle WebSockets, 15,000 with two processes; `SCALE_SOCKETS` limits them.
 * - `workers`: real messages through 1 to 8 workers, 2 balancers and 2 balancer processes.
 *
 * `BENCH_ROUNDS`, `BENCH_SECONDS` and `BENCH_WARM_SECONDS` set the duration. Linux, with redis-server.
 */
import { buildOnce } from "../test/support/build.ts";
import { leaveMeasuredCore } from "./support/process.ts";
import { durationFromEnv } from "./support/relay/contenders.ts";
import { type Result, writeResults } from "./support/results.ts";
import { measureGrowingEdge } from "./support/scale/growing-edge.ts";
import { measureIdleSockets } from "./support/scale/idle-sockets.ts";
import { measureManyMembers } from "./support/scale/many-members.ts";
import { measureRoutingDecision } from "./support/scale/routing-decision.ts";
import { measureStoredSessions } from "./support/scale/stored-sessions.ts";
import { isPart, selector, size } from "./support/sizes.ts";

const DURATION = durationFromEnv({
  long: { rounds: 3, seconds: 3, warmSeconds: 3 },
  short: { rounds: 1, seconds: 1, warmSeconds: 1 },
});
const MAX_SOCKETS = size("SCALE_SOCKETS", { long: 15_000, short: 2000 });
const MAX_MEMBERS = size("SCALE_MEMBERS", { long: 1000, short: 30 });
const SESSIONS = size("SCALE_SESSIONS", { long: 50_000, short: 2000 });
const isAsked = selector("BENCH_ONLY", { short: ["stored"] });

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
    if (!isAsked(name)) continue;
    process.stdout.write(`\n--- ${name} ---\n`);
    results.push(...(await measure()));
  }
  if (results.length === 0) throw new Error(`the parts are ${Object.keys(PARTS).join(", ")}`);
  if (!isPart("BENCH_ONLY")) writeResults("scale", results);
}
