/**
 * Which worker gets a request: the rules in their order, given the sessions and workers that this balancer sees. Pure, and
 * the only place where this is decided: requests are routed by it, and `ct-edge explain` shows its trace. The rules for a
 * key's record and the ring: candidates.ts; the load of workers: placement.ts.
 */
import type { SessionKey, WorkerId } from "../../shared/base/ids.ts";
import type { WorkerTag } from "../../shared/base/worker-tag.ts";
import type { WorkerStatus } from "../upstreams/health.ts";
import {
  type Candidate,
  type CandidateStatus,
  type CandidateTrace,
  candidateStatus,
  chooseByKey,
  type KnownRecord,
} from "./candidates.ts";
import { chancesOf, type Loaded, onTime, pickLeastLoaded, withinLoadCap } from "./placement.ts";
import type { Route, Rule } from "./session-key.ts";

/** Why a request cannot follow its session to another worker. */
export type MovingReason =
  | "body too large"
  | "owner unknown"
  | "owner not reached"
  | "owner names itself"
  | "too many hops"
  | "outdated";

/** Where a request goes, and why. */
export interface Decided {
  /** Undefined: no worker can take it. */
  readonly worker: WorkerId | undefined;
  /** The rule that decided. */
  readonly rule: Rule;
  readonly reason: DecidedReason;
  /** Whether a record names an owner of the session, reachable or not. */
  readonly hasOwner: boolean;
}

/**
 * `tag`: it issued the id · `record`: it owns the session · `ring`: the first candidate that can take it ·
 * `load`: the less loaded of two · `nobody`: no worker can take it.
 */
export type DecidedReason = "tag" | "record" | "ring" | "load" | "nobody";

/** The balancer's view at the moment of a decision, without the workers that must not be chosen. */
export interface View {
  byTag(tag: WorkerTag): WorkerId | undefined;
  readonly see: (worker: WorkerId) => Candidate | undefined;
  /** The cached owner of the session of `key`. */
  ownerOf(key: SessionKey): WorkerId | undefined;
  /** Whether that was cached after the owner started: another worker may have taken over from one that died. */
  isCurrent(key: SessionKey): boolean;
  /** Whether the store said within the last second that `key` has no session. */
  isAbsent(key: SessionKey): boolean;
  /** The ring's workers for `key`, best first. */
  candidates(key: SessionKey): readonly WorkerId[];
  workers(): readonly (Loaded & { readonly id: WorkerId })[];
  /** Whether workers report their load, as those of a store do; otherwise no worker is capped. */
  readonly isLeased: boolean;
  /** 0 to below 1. */
  readonly random: () => number;
}

/**
 * The outcome of a look-up in the store. `late`: no response in time. `away`: unreachable. With `found` the owner is
 * cached.
 */
export type Found = "found" | "none" | "late" | "away";

/**
 * `ask`: the store has to be asked for the request's key first; then decide again with its response. Each considered worker
 * is appended to `trace`, which changes no decision.
 */
export function decide(route: Route, view: View, found: Found, trace?: CandidateTrace[]): Decided;
export function decide(
  route: Route,
  view: View,
  found: Found | undefined,
  trace?: CandidateTrace[],
): Decided | "ask";
export function decide(
  route: Route,
  view: View,
  found: Found | undefined,
  trace?: CandidateTrace[],
): Decided | "ask" {
  const tagged = decideByTag(route, view, found, trace);
  if (tagged !== undefined) return tagged;
  if (route.key !== undefined) return decideByKey(route.key, view, found, trace);
  return decideByLoad(route.isCreate, view, trace);
}

/** Undefined: the tag decides nothing, the next rule applies. */
function decideByTag(
  { tag, key }: Route,
  view: View,
  found: Found | undefined,
  trace: CandidateTrace[] | undefined,
): Decided | "ask" | undefined {
  if (tag === undefined) return undefined;
  const worker = view.byTag(tag.tag);
  const seen = worker === undefined ? undefined : view.see(worker);
  if (worker === undefined || seen === undefined || seen.status === "down") {
    trace?.push({ worker, as: "tag", status: candidateStatus(seen, "any state") });
    return undefined;
  }
  // A socket id is valid only until its session moves. The cached owner may be older than the id, so if the two differ the
  // store decides, and without its response the cache does: at worst a client shakes hands again, and it never continues
  // in a lower epoch.
  if (tag.rule === "sid" && key !== undefined) {
    const owner = view.ownerOf(key.key);
    if (found === undefined && owner !== undefined && owner !== worker) return "ask";
    if (found !== undefined && owner !== worker) {
      trace?.push({ worker, as: "tag", status: "moved" });
      return undefined;
    }
  }
  trace?.push({ worker, as: "tag", status: candidateStatus(seen, "any state") });
  return { worker, rule: tag.rule, reason: "tag", hasOwner: false };
}

function decideByKey(
  { rule, key }: NonNullable<Route["key"]>,
  view: View,
  found: Found | undefined,
  trace: CandidateTrace[] | undefined,
): Decided | "ask" {
  const owner = view.ownerOf(key);
  const isOwnerHealthy =
    owner !== undefined &&
    view.see(owner)?.status === "healthy" &&
    (found !== undefined || view.isCurrent(key));
  // The first row of candidates.ts's table, by far the most frequent one, on the hot path of every request.
  if (isOwnerHealthy && trace === undefined) {
    return { worker: owner, rule, reason: "record", hasOwner: true };
  }
  if (found === undefined && !isOwnerHealthy && !view.isAbsent(key)) return "ask";
  const known = knownRecord(owner, found);
  const choice = chooseByKey(known, () => view.candidates(key), view.see, trace);
  const { worker, reason } = choice;
  return { worker, rule, reason, hasOwner: known.record === "owner" };
}

/**
 * The cache is never older than the store's response. It also counts if the store did not respond or has no record, because
 * the store may have lost it. `found` undefined: the store said within the last second that there is no session.
 */
function knownRecord(owner: WorkerId | undefined, found: Found | undefined): KnownRecord {
  if (owner !== undefined) return { record: "owner", owner };
  return { record: found === undefined || found === "none" ? "none" : "unknown" };
}

function decideByLoad(isCreate: boolean, view: View, trace: CandidateTrace[] | undefined): Decided {
  const workers = view.workers();
  const usable = usableOf(workers, view);
  const notLate = isCreate && view.isLeased ? onTime(usable) : usable;
  const pool = isCreate && view.isLeased ? withinLoadCap(notLate) : usable;
  if (trace !== undefined) {
    const chances = chancesOf(pool);
    for (const worker of workers) {
      let status = candidateStatus(view.see(worker.id));
      if (usable.includes(worker) && !pool.includes(worker)) {
        status = notLate.includes(worker) ? "capped" : "late";
      }
      trace.push({ worker: worker.id, as: "load", status, chance: chances.get(worker) ?? 0 });
    }
  }
  const worker = pickLeastLoaded(pool, view.random)?.id;
  return {
    worker,
    rule: "none",
    reason: worker === undefined ? "nobody" : "load",
    hasOwner: false,
  };
}

type Workers = ReturnType<View["workers"]>;

/** The available workers, which are nearly always all; without any the unhealthy ones. */
function usableOf(workers: Workers, view: View): Workers {
  const having = (status: CandidateStatus): Workers =>
    workers.filter(({ id }) => candidateStatus(view.see(id)) === status);
  for (const { id } of workers) {
    if (candidateStatus(view.see(id)) === "available") continue;
    const available = having("available");
    return available.length > 0 ? available : having("unhealthy");
  }
  return workers;
}

// --- after a worker answered 421 ---

/** How often a request may follow a 421 to the owner that it names. */
const MAX_HOPS = 2;

/**
 * Why a request whose worker answered 421 cannot be sent to the owner that it named; undefined if it can. `status`: of the
 * named worker; undefined when this balancer does not know it.
 */
export function obstacleToReplay(named: {
  readonly status: WorkerStatus | undefined;
  readonly isSender: boolean;
  /** How often the request has been redirected already. */
  readonly hops: number;
  /** Whether its body is still in the replay buffer. */
  readonly isKept: boolean;
}): MovingReason | undefined {
  if (named.status === undefined) return "owner unknown";
  if (named.isSender) return "owner names itself";
  // The worker has not noticed the failure yet, or only this balancer cannot reach the owner: the request waits here.
  if (named.status !== "healthy") return "owner not reached";
  if (named.hops >= MAX_HOPS) return "too many hops";
  return named.isKept ? undefined : "body too large";
}
