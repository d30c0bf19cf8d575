/**
 * Which worker gets a request that has a key, decided from what is known of the key's session and of the workers. Pure; the
 * whole of it is this table (test/balancer/routing/candidates.test.ts has a test for each row). The store being away changes nothing
 * but what is known: the last records and members rule.
 *
 * | record of the key | its owner | goes to |
 * | --- | --- | --- |
 * | names an owner | well, whatever it does with new sessions (up, suspended, draining) | the owner |
 * | names an owner | suspect | the next candidate that is well and up: it asks the owner, and takes over, waits or answers 421 |
 * | names an owner | suspect, and no candidate is well and up | the owner all the same |
 * | names an owner | dead or unknown | the next candidate that is well and up, else a suspect one that is up |
 * | names an owner | dead or unknown, and nobody is up | nobody: the request is held, up to 8 s |
 * | there is none | | the first candidate that is well and up, else a suspect one that is up, else nobody: 503 at once |
 * | not known (the store is away or late) | | the first candidate that is well, since ids are made such that the ring leads back to their worker; else a suspect one, else nobody: 503 at once |
 *
 * A worker that failed this request already counts as unknown. A keyless request goes to the less loaded of two that are
 * well and up, else of two suspect ones that are up (placement.ts).
 */
import type { WorkerId } from "../../shared/base/ids.ts";
import type { WorkerState } from "../../shared/store/member.ts";
import type { WorkerStatus } from "../upstreams/health.ts";

/** What is known of a key. */
export type KnownWorkers =
  | { readonly record: "owner"; readonly owner: WorkerId }
  /** The store says that there is none. */
  | { readonly record: "none" }
  /** The store did not say. */
  | { readonly record: "unknown" };

/** What is seen of a worker that may be chosen. */
export interface Candidate {
  readonly standing: WorkerStatus;
  readonly state: WorkerState;
}

export interface Choice {
  /** Undefined: nobody can take it. */
  readonly worker: WorkerId | undefined;
  readonly reason: "record" | "ring" | "nobody";
}

/**
 * What speaks for or against a worker. `fit`: it can be chosen. `suspect`: only when nobody is fit. `unknown`: it is not
 * there, or failed this request already. `capped`: too far ahead of the others for one more session. `moved`: the session
 * has left the worker that issued the id.
 */
export type CandidateStatus =
  | "fit"
  | "suspect"
  | "dead"
  | "unknown"
  | "suspended"
  | "draining"
  | "capped"
  | "moved";

/** What was thought of a worker on the way to a decision. */
export interface CandidateTrace {
  /** Undefined: nobody is known by that tag. */
  readonly worker: WorkerId | undefined;
  /** `tag`: it issued the id · `owner`: the record names it · `candidate`: the ring does · `any`: no rule ties the request to a worker. */
  readonly as: "tag" | "owner" | "candidate" | "any";
  readonly verdict: CandidateStatus;
  /** With `any`: how likely it is to be chosen now, 0 to 1. */
  readonly chance?: number;
}

/**
 * `candidates`: what the ring says for the key, best first; asked only when it matters. `see`: a worker that may be chosen
 * now; undefined for one that is not there or failed this request already. Into `notes` goes what was thought of each.
 */
export function chooseByKey(
  known: KnownWorkers,
  candidates: () => Iterable<WorkerId>,
  see: (worker: WorkerId) => Candidate | undefined,
  notes?: CandidateTrace[],
): Choice {
  if (known.record !== "owner") {
    return firstOf(candidates(), see, known.record === "unknown" ? "any state" : "up", notes);
  }
  const owner = see(known.owner);
  const isWell = owner?.standing === "well";
  notes?.push({ worker: known.owner, as: "owner", verdict: judge(owner, "any state") });
  // Who asks why is told of the candidates too.
  if (isWell && notes === undefined) return { worker: known.owner, reason: "record" };
  const next = firstOf(candidates(), see, "up", notes);
  const isOwnerLeft = owner !== undefined && owner.standing !== "dead";
  const isNextWell = next.worker !== undefined && see(next.worker)?.standing === "well";
  return isWell || (isOwnerLeft && !isNextWell) ? { worker: known.owner, reason: "record" } : next;
}

/** The first candidate that is fit, else the first that is suspect. */
function firstOf(
  candidates: Iterable<WorkerId>,
  see: (worker: WorkerId) => Candidate | undefined,
  states: States,
  notes: CandidateTrace[] | undefined,
): Choice {
  let fit: WorkerId | undefined;
  let fallback: WorkerId | undefined;
  for (const worker of candidates) {
    const verdict = judge(see(worker), states);
    notes?.push({ worker, as: "candidate", verdict });
    if (verdict === "fit") fit ??= worker;
    if (verdict === "suspect") fallback ??= worker;
    if (fit !== undefined && notes === undefined) break;
  }
  const worker = fit ?? fallback;
  return { worker, reason: worker === undefined ? "nobody" : "ring" };
}

/** Which workers can be chosen: those that take new sessions, or also those that do not. */
type States = "up" | "any state";

export function judge(seen: Candidate | undefined, states: States = "up"): CandidateStatus {
  if (seen === undefined) return "unknown";
  if (seen.standing === "dead") return "dead";
  if (states === "up" && seen.state !== "up") return seen.state;
  return seen.standing === "well" ? "fit" : "suspect";
}
