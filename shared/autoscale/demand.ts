/**
 * How many workers the present load needs. Pure.
 *
 * Sessions, connections and CPU time add up, so they are divided by what one worker should have of each. The delay of the
 * event loop does not: while it is too long, one more worker is needed. The resource that needs most workers decides.
 */
import type { WorkerRecord } from "../store/member.ts";

/** What one worker should have at most. */
export interface ScalingTargets {
  readonly sessions: number;
  readonly connections: number;
  /** CPU time per time: 1 is one core. */
  readonly cpu: number;
  /** Mean delay of the event loops, in ms. */
  readonly lagMs: number;
  /** Share of the need that is kept in reserve, 0.2 for a fifth more. */
  readonly headroom: number;
}

export const RESOURCES = ["sessions", "connections", "cpu", "lag"] as const;
export type Resource = (typeof RESOURCES)[number];

interface Demand {
  /** A fraction, so that it can be compared with less than a worker; at least 0. With the head-room. */
  readonly workers: number;
  /** Undefined: nothing is used. */
  readonly by: Resource | undefined;
  /** Of each resource, in workers, with the head-room. */
  readonly needs: Readonly<Record<Resource, number>>;
}

/** Below this share of the limit, the delay asks for nothing; between, it keeps the workers that there are. */
const LAG_KEEPS = 0.5;

/**
 * `workers`: all with a lease. Those that drain count with what they still have, because it goes to the others. Undefined
 * without a worker that stays: nothing is known then.
 */
export function demandOf(
  workers: readonly WorkerRecord[],
  targets: ScalingTargets,
): Demand | undefined {
  const staying = workers.filter(({ state }) => state !== "draining");
  if (staying.length === 0) return undefined;
  const sum = (of: (worker: WorkerRecord) => number): number =>
    workers.reduce((total, worker) => total + of(worker), 0);
  const reserve = 1 + targets.headroom;
  // A worker of an earlier version does not report its CPU time: it counts so that it needs itself, and no more.
  const cpu = sum(({ load, state }) => {
    return load.cpu ?? (state === "draining" ? 0 : targets.cpu / reserve);
  });
  const needs = {
    sessions: (sum(({ load }) => load.sessions) / targets.sessions) * reserve,
    connections: (sum(({ load }) => load.connections) / targets.connections) * reserve,
    cpu: (cpu / targets.cpu) * reserve,
    lag: lagNeed(staying, targets.lagMs),
  };
  let by: Resource | undefined;
  for (const resource of RESOURCES) {
    if (needs[resource] > (by === undefined ? 0 : needs[by])) by = resource;
  }
  return { workers: by === undefined ? 0 : needs[by], by, needs };
}

function lagNeed(staying: readonly WorkerRecord[], limitMs: number): number {
  const meanMs = staying.reduce((total, { load }) => total + load.lagMs, 0) / staying.length;
  if (meanMs > limitMs) return staying.length + 1;
  return meanMs > limitMs * LAG_KEEPS ? staying.length : 0;
}
