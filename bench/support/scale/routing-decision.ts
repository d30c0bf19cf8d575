/** What a routing decision costs with 10 to 100,000 known sessions, and what a balancer keeps of a million. */
import type { Route } from "../../../balancer/routing/session-key.ts";
import { newSessionId, type WorkerId } from "../../../shared/base/ids.ts";
import { describePowerLaw, fitPowerLaw } from "../growth-law.ts";
import type { Result } from "../results.ts";
import { printResults, resultsOf } from "../rounds.ts";
import {
  fixedView,
  learnAll,
  openRouter,
  routeOf,
  timeCalls,
  usedBytes,
  workerRecord,
} from "../routing.ts";
import { summarize } from "../statistics.ts";

const SIZES = [10, 100, 1000, 10_000, 100_000, 1_000_000];
/** Beyond them a balancer asks the store for what it does not keep. */
const MOST_KEPT = 100_000;
const WORKERS = 10;
const BATCHES = 300;
const UNIT = "µs per decision, p50";

export async function measureRoutingDecision(rounds: number): Promise<Result[]> {
  const opened = SIZES.map(openWith);
  const figures = new Map(opened.map(({ size }) => [nameOf(size), [] as Record<string, number>[]]));
  for (let round = 0; round <= rounds; round++) {
    for (const { size, bytes, decide } of opened) {
      const kept = Math.min(size, MOST_KEPT);
      const { p50 } = timeCalls(decide, kept, BATCHES);
      // In the first round the code is compiled.
      if (round > 0)
        figures.get(nameOf(size))?.push({ [UNIT]: p50, "MiB of heap": bytes / 2 ** 20 });
    }
  }
  for (const { router } of opened) router.close();
  const results = resultsOf("routing, by known sessions", figures, nameOf(10));
  printResults("routing, by known sessions", results);
  const law = fitPowerLaw(
    SIZES.filter((size) => size <= MOST_KEPT).map((size) => ({
      size,
      figure: summarize((figures.get(nameOf(size)) ?? []).map((one) => one[UNIT] ?? Number.NaN))
        .median,
    })),
  );
  process.stdout.write(`  a decision with n sessions: ${describePowerLaw(law)} µs\n`);
  return results;
}

function nameOf(size: number): string {
  return size.toLocaleString("en");
}

function openWith(size: number) {
  let keys = Array.from({ length: size }, () => newSessionId());
  const before = usedBytes();
  const workers = Array.from({ length: WORKERS }, (_, i) => workerRecord(`worker-${i}`));
  const router = openRouter(fixedView(workers), () => {
    throw new Error("the router queried the store");
  });
  learnAll(router, keys, WORKERS);
  const bytes = usedBytes() - before;
  // Those that it has kept.
  keys = keys.slice(-MOST_KEPT);
  const routes = keys.map(routeOf);
  const excluded = new Set<WorkerId>();
  const decide = (index: number): void => {
    const decision = router.choose(routes[index] as Route, excluded);
    if (decision instanceof Promise) throw new Error("the router queried the store");
  };
  return { size, router, bytes, decide };
}
