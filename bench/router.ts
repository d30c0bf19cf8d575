/**
 * What does a routing decision cost with 100,000 sessions in the owner cache, and how much memory does each take? Limits: 2 µs
 * (median), 300 bytes per record. For comparison: a lookup in a Map of as many strings.
 */
import type { Route } from "../balancer/routing/session-key.ts";
import { trafficProbe } from "../balancer/upstreams/probe.ts";
import { newSessionId, type WorkerId } from "../shared/base/ids.ts";
import { type Result, writeResults } from "./support/results.ts";
import {
  fixedView,
  learnAll,
  openRouter,
  routeOf,
  timeCalls,
  usedBytes,
  workerRecord,
} from "./support/routing.ts";
import { summarize } from "./support/statistics.ts";

const RECORDS = 100_000;
const WORKERS = 10;
const BATCHES = 2000;

export async function run(): Promise<void> {
  let lookups = 0;
  const workers = Array.from({ length: WORKERS }, (_, i) => workerRecord(`worker-${i}`));
  const router = openRouter(fixedView(workers), () => lookups++, trafficProbe);
  const keys = Array.from({ length: RECORDS }, () => newSessionId());
  const before = usedBytes();
  learnAll(router, keys, WORKERS);
  const bytes = (usedBytes() - before) / RECORDS;

  const routes = keys.map(routeOf);
  const excluded = new Set<WorkerId>();
  const decide = (i: number): void => {
    const decision = router.choose(routes[i] as Route, excluded);
    if (decision instanceof Promise) throw new Error("the router queried the store");
  };
  const ours = timeCalls(decide, RECORDS, BATCHES);
  const map = new Map(keys.map((key) => [key as string, true]));
  const look = (i: number): void => {
    if (!map.has(keys[i] as string)) throw new Error("a key is missing");
  };
  const peer = timeCalls(look, RECORDS, BATCHES);
  router.close();
  process.stdout.write(
    `records  lookups in the store   bytes/record (limit 300)  µs/decision p50, p99 (limit 2)  Map.has p50, p99\n${[
      String(RECORDS).padEnd(9),
      String(lookups).padEnd(23),
      bytes.toFixed(0).padEnd(26),
      `${ours.p50.toFixed(3)}, ${ours.p99.toFixed(3)}`.padEnd(32),
      `${peer.p50.toFixed(3)}, ${peer.p99.toFixed(3)}`,
    ].join("")}\n`,
  );
  const both = (of: "p50" | "p99"): Result["figures"] => ({
    ours: summarize([ours[of]]),
    "Map.has": summarize([peer[of]]),
  });
  writeResults("router", [
    { question: "a decision, median (limit 2)", unit: "µs", figures: both("p50") },
    { question: "a decision, p99", unit: "µs", figures: both("p99") },
    {
      question: "memory of a cached session (limit 300)",
      unit: "bytes",
      figures: { ours: summarize([bytes]) },
    },
  ]);
}
