/**
 * Which worker gets a request: the rules in their order, decided from what is seen of workers and sessions. Pure, and the
 * only place where this is decided: requests are routed by it, and `ct-edge explain` shows what it noted on its way. What a
 * record and the ring mean for a key: candidates.ts; the load of workers: placement.ts.
 */
import type { SessionKey, WorkerId } from "../../shared/base/ids.ts";
import type { WorkerTag } from "../../shared/base/tag.ts";
import type { WorkerStatus } from "../upstreams/health.ts";
import {
  type Candidate,
  type CandidateTrace,
  chooseByKey,
  judge,
  type KnownWorkers,
} from "./candidates.ts";
import { chancesOf, type Loaded, pickLeastLoaded, withinLoadCap } from "./placement.ts";
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
  /** The rule that counted in the end. */
  readonly rule: Rule;
  readonly reason: DecidedReason;
  /** Whether a record names an owner of the session, be it there or not. */
  readonly hasOwner: boolean;
}

/**
 * `tag`: it issued the id · `record`: it owns the session · `ring`: the first candidate that can take it ·
 * `load`: the less loaded of two · `nobody`: there is none.
 */
export type DecidedReason = "tag" | "record" | "ring" | "load" | "nobody";

/** What is seen at the moment of a decision. A worker that must not be chosen is not seen. */
export interface Sight {
  /** Whose tag it is. */
  byTag(tag: WorkerTag): WorkerId | undefined;
  readonly see: (worker: WorkerId) => Candidate | undefined;
  /** Who owns the session of `key`, as far as it is remembered. */
  ownerOf(key: SessionKey): WorkerId | undefined;
  /** Whether that was learned after its worker started: another one may have taken over what one that died had. */
  isCurrent(key: SessionKey): boolean;
  /** Whether the store said a moment ago that nobody has the session of `key`. */
  isAbsent(key: SessionKey): boolean;
  /** What the ring says, best first. */
  candidates(key: SessionKey): readonly WorkerId[];
  /** All workers, with their load. */
  everybody(): readonly (Loaded & { readonly id: WorkerId })[];
  /** Whether workers say how busy they are, as those of a store do: else no worker is capped. */
  readonly isLeased: boolean;
  /** 0 to below 1. */
  readonly random: () => number;
}

/**
 * What came of asking the store. `late`: it did not answer in time. `away`: it cannot be reached. What it `found` is
 * remembered by then.
 */
export type Found = "found" | "none" | "late" | "away";

/**
 * `ask`: the store has to be asked for the request's key first; then decide again with what it said. Into `notes` goes
 * what was thought of each worker; nothing else depends on them.
 */
export function decide(route: Route, sight: Sight, found: Found, notes?: CandidateTrace[]): Decided;
export function decide(
  route: Route,
  sight: Sight,
  found: Found | undefined,
  notes?: CandidateTrace[],
): Decided | "ask";
export function decide(
  route: Route,
  sight: Sight,
  found: Found | undefined,
  notes?: CandidateTrace[],
): Decided | "ask" {
  const tagged = decideByTag(route, sight, found, notes);
  if (tagged !== undefined) return tagged;
  if (route.key !== undefined) return decideByKey(route.key, sight, found, notes);
  return decideFreely(route.isCreate, sight, notes);
}

/** Undefined: the tag does not count, the next rule does. */
function decideByTag(
  { tag, key }: Route,
  sight: Sight,
  found: Found | undefined,
  notes: CandidateTrace[] | undefined,
): Decided | "ask" | undefined {
  if (tag === undefined) return undefined;
  const worker = sight.byTag(tag.tag);
  const seen = worker === undefined ? undefined : sight.see(worker);
  if (worker === undefined || seen === undefined || seen.standing === "dead") {
    notes?.push({ worker, as: "tag", verdict: judge(seen, "any state") });
    return undefined;
  }
  // A socket id counts only while its session has not moved. What is remembered may be older than the id, so when the two
  // differ, the store decides; when it does not say, what is remembered does: at worst a client shakes hands again, and
  // never does it go on in a lower epoch.
  if (tag.rule === "sid" && key !== undefined) {
    const owner = sight.ownerOf(key.key);
    if (found === undefined && owner !== undefined && owner !== worker) return "ask";
    if (found !== undefined && owner !== worker) {
      notes?.push({ worker, as: "tag", verdict: "moved" });
      return undefined;
    }
  }
  notes?.push({ worker, as: "tag", verdict: judge(seen, "any state") });
  return { worker, rule: tag.rule, reason: "tag", hasOwner: false };
}

function decideByKey(
  { rule, key }: NonNullable<Route["key"]>,
  sight: Sight,
  found: Found | undefined,
  notes: CandidateTrace[] | undefined,
): Decided | "ask" {
  const owner = sight.ownerOf(key);
  const isOwnerWell =
    owner !== undefined &&
    sight.see(owner)?.standing === "well" &&
    (found !== undefined || sight.isCurrent(key));
  // The first row of candidates.ts's table, by far the most frequent: every step less counts, in each request.
  if (isOwnerWell && notes === undefined) {
    return { worker: owner, rule, reason: "record", hasOwner: true };
  }
  if (found === undefined && !isOwnerWell && !sight.isAbsent(key)) return "ask";
  const known = knownOf(owner, found);
  const choice = chooseByKey(known, () => sight.candidates(key), sight.see, notes);
  const { worker, reason } = choice;
  return { worker, rule, reason, hasOwner: known.record === "owner" };
}

/**
 * What is remembered is never older than what the store said, and counts when it said nothing or knows nothing, because it
 * may have lost it. Not asked (`undefined`), it said a moment ago that there is none.
 */
function knownOf(owner: WorkerId | undefined, found: Found | undefined): KnownWorkers {
  if (owner !== undefined) return { record: "owner", owner };
  return { record: found === undefined || found === "none" ? "none" : "unknown" };
}

function decideFreely(
  isCreate: boolean,
  sight: Sight,
  notes: CandidateTrace[] | undefined,
): Decided {
  const everybody = sight.everybody();
  const well: (typeof everybody)[number][] = [];
  const suspect: (typeof everybody)[number][] = [];
  const verdicts = everybody.map((worker) => {
    const verdict = judge(sight.see(worker.id));
    if (verdict === "fit") well.push(worker);
    if (verdict === "suspect") suspect.push(worker);
    return verdict;
  });
  const some = well.length > 0 ? well : suspect;
  const pool = isCreate && sight.isLeased ? withinLoadCap(some) : some;
  if (notes !== undefined) {
    const chances = chancesOf(pool);
    for (const [i, worker] of everybody.entries()) {
      const isCapped = some.includes(worker) && !pool.includes(worker);
      const verdict = isCapped ? "capped" : (verdicts[i] ?? "unknown");
      notes.push({ worker: worker.id, as: "any", verdict, chance: chances.get(worker) ?? 0 });
    }
  }
  const worker = pickLeastLoaded(pool, sight.random)?.id;
  return {
    worker,
    rule: "none",
    reason: worker === undefined ? "nobody" : "load",
    hasOwner: false,
  };
}

// --- after a worker said that another one has the session ---

/** How often a request may follow a 421 to the owner that it names. */
const MAX_HOPS = 2;

/**
 * Why a request whose worker said (421) that another one has its session cannot be sent there; undefined: it is.
 * `standing`: of the one that was named; undefined when this balancer does not know it.
 */
export function obstacleToReplay(named: {
  readonly standing: WorkerStatus | undefined;
  readonly isSender: boolean;
  /** How often the request was sent on already. */
  readonly hops: number;
  /** Whether its body is still there. */
  readonly isKept: boolean;
}): MovingReason | undefined {
  if (named.standing === undefined) return "owner unknown";
  if (named.isSender) return "owner names itself";
  // The worker has not noticed yet, or only we do not reach it: it is waited for, here.
  if (named.standing !== "well") return "owner not reached";
  if (named.hops >= MAX_HOPS) return "too many hops";
  return named.isKept ? undefined : "body too large";
}
