/**
 * Watches the demand from the members that this process sees anyway, once a second, and says how many workers are wanted.
 * Asks the store nothing. What a process finds depends on when it started, so each puts it into its record, and all say the
 * highest: whichever process is asked, the number is the same.
 */
import type { Clock } from "../base/clock.ts";
import type { MemberRecord, WorkerRecord } from "../store/member.ts";
import { demandOf, type Resource, type ScalingTargets } from "./demand.ts";
import { type Stabilized, stabilize, type Windows } from "./stabilize.ts";

/** As `GET /autoscale` sends it. Fields are added, never changed. */
interface Wish {
  /** The number of workers, at least 1. */
  readonly wanted: number;
  /** Workers with a lease that do not drain. */
  readonly current: number;
  /** What needs most workers now; null without load. */
  readonly by: Resource | null;
  /** What each resource needs now, in workers, with the head-room. */
  readonly needs: Readonly<Record<Resource, number>>;
}

/** A wish, or why there is none. */
export type WishState =
  | { readonly wish: Wish }
  | { readonly wish: undefined; readonly why: string };

interface DemandWatch {
  readonly state: WishState;
  /** What this process finds by itself, for its record; undefined while it does not know. */
  readonly own: number | undefined;
  close(): void;
}

export type ScalingSettings = ScalingTargets & Windows;

const PERIOD_MS = 1000;

export function watchDemand(deps: {
  readonly settings: ScalingSettings;
  readonly clock: Clock;
  readonly workers: () => readonly WorkerRecord[];
  readonly balancers: () => readonly MemberRecord[];
  /** Why the records are not the present ones; undefined when they are. */
  readonly unknownBecause: () => string | undefined;
}): DemandWatch {
  const { settings, clock } = deps;
  let stabilized: Stabilized | undefined;
  let own: number | undefined;
  let state: WishState = { wish: undefined, why: "the workers have not been read yet" };

  function observe(): WishState {
    const why = deps.unknownBecause();
    if (why !== undefined) return { wish: undefined, why };
    const workers = deps.workers();
    const demand = demandOf(workers, settings);
    if (demand === undefined) return { wish: undefined, why: "no worker has a lease" };
    const current = workers.filter((worker) => worker.state !== "draining").length;
    const sample = { atMs: clock.nowMs(), workers: demand.workers };
    stabilized = stabilize(stabilized, sample, current, settings);
    own = stabilized.wanted;
    const found = [...workers, ...deps.balancers()].map((member) => member.wanted ?? 0);
    const wanted = Math.max(own, ...found);
    return { wish: { wanted, current, by: demand.by ?? null, needs: rounded(demand.needs) } };
  }

  const timer = clock.every(PERIOD_MS, () => {
    own = undefined;
    state = observe();
  });
  return {
    get state() {
      return state;
    },
    get own() {
      return own;
    },
    close: () => timer.cancel(),
  };
}

function rounded(needs: Wish["needs"]): Wish["needs"] {
  const { sessions, connections, cpu, lag } = needs;
  const round = (value: number): number => Math.round(value * 100) / 100;
  return {
    sessions: round(sessions),
    connections: round(connections),
    cpu: round(cpu),
    lag: round(lag),
  };
}
