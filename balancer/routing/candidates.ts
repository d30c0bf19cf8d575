/**
 * Which worker gets a request that has a key, given the session's record and the workers' health. Pure; this table is all
 * of it (test/balancer/routing/candidates.test.ts has a test for each row). An unreachable store only limits what is known: the
 * last records and members are used.
 *
 * | record of the key | its owner | goes to |
 * | --- | --- | --- |
 * | names an owner | healthy, in any state (up, suspended, draining) | the owner |
 * | names an owner | unhealthy | the next candidate that is healthy and up: it probes the owner, and takes over, waits or answers 421 |
 * | names an owner | unhealthy, and no candidate is healthy and up | the owner all the same |
 * | names an owner | down or unknown | the next candidate that is healthy and up, else an unhealthy one that is up |
 * | names an owner | down or unknown, and no worker is up | none: the request waits, up to 8 s |
 * | none | | the first candidate that is healthy and up, else an unhealthy one that is up, else none: 503 at once |
 * | unknown (the store is unreachable or late) | | the first candidate that is healthy, because ids are minted so that the ring maps them to their worker; else an unhealthy one, else none: 503 at once |
 *
 * A worker that already failed this request counts as unknown. A request without a key goes to the less loaded of two that
 * are healthy and up, else of two unhealthy ones that are up (placement.ts).
 */
import type { WorkerId } from "../../shared/base/ids.ts";
import type { WorkerState } from "../../shared/store/member.ts";
import type { WorkerStatus } from "../upstreams/health.ts";

/** The record of a key's session. */
export type KnownRecord =
  | { readonly record: "owner"; readonly owner: WorkerId }
  /** The store has none. */
  | { readonly record: "none" }
  /** The store did not respond. */
  | { readonly record: "unknown" };

/** A worker that may be chosen. */
export interface Candidate {
  readonly status: WorkerStatus;
  readonly state: WorkerState;
}

export interface Choice {
  /** Undefined: no worker can take it. */
  readonly worker: WorkerId | undefined;
  readonly reason: "record" | "ring" | "nobody";
}

/**
 * Whether a worker can be chosen. `unhealthy`: only if none is available. `unknown`: it is gone, or has already failed this
 * request. `capped`: it has too many sessions to get another one. `late`: its event loop is late, so it gets no new session. `moved`: the
 * session has left the worker that issued the id.
 */
export type CandidateStatus =
  | "available"
  | "unhealthy"
  | "down"
  | "unknown"
  | "suspended"
  | "draining"
  | "capped"
  | "late"
  | "moved";

/** One worker that was considered for a decision. */
export interface CandidateTrace {
  /** Undefined: no known worker has the tag. */
  readonly worker: WorkerId | undefined;
  /** `tag`: it issued the id · `owner`: by the record · `candidate`: by the ring · `load`: any worker will do. */
  readonly as: "tag" | "owner" | "candidate" | "load";
  readonly status: CandidateStatus;
  /** With `load`: the probability of being chosen now, 0 to 1. */
  readonly chance?: number;
}

/**
 * `candidates`: the ring's workers for the key, best first; called only when needed. `see`: a worker that may be chosen
 * now; undefined if it is gone or has already failed this request. Each considered worker is appended to `trace`.
 */
export function chooseByKey(
  known: KnownRecord,
  candidates: () => Iterable<WorkerId>,
  see: (worker: WorkerId) => Candidate | undefined,
  trace?: CandidateTrace[],
): Choice {
  if (known.record !== "owner") {
    return firstOf(candidates(), see, known.record === "unknown" ? "any state" : "up", trace);
  }
  const owner = see(known.owner);
  const isHealthy = owner?.status === "healthy";
  trace?.push({ worker: known.owner, as: "owner", status: candidateStatus(owner, "any state") });
  // A trace lists the candidates too.
  if (isHealthy && trace === undefined) return { worker: known.owner, reason: "record" };
  const next = firstOf(candidates(), see, "up", trace);
  const mayOwnerServe = owner !== undefined && owner.status !== "down";
  const isNextHealthy = next.worker !== undefined && see(next.worker)?.status === "healthy";
  return isHealthy || (mayOwnerServe && !isNextHealthy)
    ? { worker: known.owner, reason: "record" }
    : next;
}

/** The first candidate that is available, else the first that is unhealthy. */
function firstOf(
  candidates: Iterable<WorkerId>,
  see: (worker: WorkerId) => Candidate | undefined,
  states: States,
  trace: CandidateTrace[] | undefined,
): Choice {
  let available: WorkerId | undefined;
  let fallback: WorkerId | undefined;
  for (const worker of candidates) {
    const status = candidateStatus(see(worker), states);
    trace?.push({ worker, as: "candidate", status });
    if (status === "available") available ??= worker;
    if (status === "unhealthy") fallback ??= worker;
    if (available !== undefined && trace === undefined) break;
  }
  const worker = available ?? fallback;
  return { worker, reason: worker === undefined ? "nobody" : "ring" };
}

/** Which workers can be chosen: those that accept new sessions, or also those that do not. */
type States = "up" | "any state";

export function candidateStatus(
  seen: Candidate | undefined,
  states: States = "up",
): CandidateStatus {
  if (seen === undefined) return "unknown";
  if (seen.status === "down") return "down";
  if (states === "up" && seen.state !== "up") return seen.state;
  return seen.status === "healthy" ? "available" : "unhealthy";
}
