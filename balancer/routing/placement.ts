/**
 * Load balancing for requests without a session key: the less loaded of two random workers, and a cap relative to the mean.
 * Pure.
 */

import { LATE_LOOP_MS } from "../../shared/store/member.ts";

/** How busy a worker is. */
export interface Loaded {
  /** Sessions that it hosts or is about to. */
  readonly sessions: number;
  readonly record: {
    readonly weight: number;
    readonly load: { readonly connections: number; readonly lagMs: number };
  };
  /** Requests and tunnels of this balancer in progress. */
  readonly inFlight: number;
}

/** New sessions go only to workers below this times the mean (consistent hashing with bounded loads, 2016). */
const LOAD_CAP = 1.25;

/**
 * The less loaded of two random workers: nearly as even as the least loaded of all, and all balancers do not choose the same
 * one between two heartbeats (Mitzenmacher, "The Power of Two Choices", 2001).
 */
export function pickLeastLoaded<Worker extends Loaded>(
  workers: readonly Worker[],
  random: () => number,
): Worker | undefined {
  const first = Math.floor(random() * workers.length);
  // Never the first one again.
  const second = (first + 1 + Math.floor(random() * (workers.length - 1))) % workers.length;
  const one = workers[first];
  const other = workers[second];
  if (one === undefined || other === undefined) return one;
  return scoreOf(other) < scoreOf(one) ? other : one;
}

/** How likely `pickLeastLoaded` is to pick each of `workers`, 0 to 1; together 1. */
export function chancesOf<Worker extends Loaded>(
  workers: readonly Worker[],
): ReadonlyMap<Worker, number> {
  const scored = workers.map((worker) => ({ worker, score: scoreOf(worker) }));
  const pairs = (workers.length * (workers.length - 1)) / 2;
  return new Map(
    scored.map(({ worker, score }) => {
      // It wins against busier ones, and half of the time against its equals, not counting itself.
      const busier = scored.filter((other) => other.score > score).length;
      const equals = scored.filter((other) => other.score === score).length - 1;
      return [worker, pairs === 0 ? 1 : (busier + equals / 2) / pairs];
    }),
  );
}

/** The workers that may take one more session: below the cap for their weight. Never empty unless `workers` is. */
export function withinLoadCap<Worker extends Loaded>(
  workers: readonly Worker[],
): readonly Worker[] {
  let sessions = 1;
  let weights = 0;
  for (const worker of workers) {
    sessions += worker.sessions;
    weights += worker.record.weight;
  }
  const perWeight = (LOAD_CAP * sessions) / weights;
  // Rounded up, so that at least one is below it.
  return workers.filter((worker) => worker.sessions < Math.ceil(perWeight * worker.record.weight));
}

/** The workers whose event loops are not late; all of them if all are. */
export function onTime<Worker extends Loaded>(workers: readonly Worker[]): readonly Worker[] {
  const some = workers.filter(({ record }) => record.load.lagMs < LATE_LOOP_MS);
  return some.length > 0 ? some : workers;
}

/**
 * Sessions count most; a session has a few connections; a lag of some ms is the first sign of a busy worker. Requests in
 * progress break ties, because a reported load is a second old.
 */
function scoreOf(worker: Loaded): number {
  const { connections, lagMs } = worker.record.load;
  const work = worker.sessions + connections / 4 + lagMs / 4 + worker.inFlight / 16;
  return work / worker.record.weight;
}
