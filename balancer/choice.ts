/**
 * Which worker gets a request that has a key, decided from what is known of the key's session and of the workers. Pure; the
 * whole of it is this table (test/balancer/choice.test.ts has a test for each row). The store being away changes nothing
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
import type { WorkerId } from "../shared/ids.ts";
import type { WorkerState } from "../shared/membership/member.ts";
import type { Standing } from "./health.ts";

/** What is known of a key. */
export type Known =
  | { readonly record: "owner"; readonly owner: WorkerId }
  /** The store says that there is none. */
  | { readonly record: "none" }
  /** The store did not say. */
  | { readonly record: "unknown" };

/** What is seen of a worker that may be chosen. */
export interface Candidate {
  readonly standing: Standing;
  readonly state: WorkerState;
}

export interface Choice {
  /** Undefined: nobody can take it. */
  readonly worker: WorkerId | undefined;
  readonly reason: "record" | "ring" | "nobody";
}

/**
 * `candidates`: what the ring says for the key, best first. `see`: a worker that may be chosen now; undefined for one that
 * is not there or failed this request already.
 */
export function chooseByKey(
  known: Known,
  candidates: Iterable<WorkerId>,
  see: (worker: WorkerId) => Candidate | undefined,
): Choice {
  if (known.record !== "owner") return firstOf(candidates, see, known.record === "unknown");
  const owner = see(known.owner);
  if (owner?.standing === "well") return { worker: known.owner, reason: "record" };
  const next = firstOf(candidates, see, false);
  const isOwnerLeft = owner !== undefined && owner.standing !== "dead";
  const isNextWell = next.worker !== undefined && see(next.worker)?.standing === "well";
  return isOwnerLeft && !isNextWell ? { worker: known.owner, reason: "record" } : next;
}

/** The first candidate that is well, else the first that is suspect. `anyState`: also one that takes nothing new. */
function firstOf(
  candidates: Iterable<WorkerId>,
  see: (worker: WorkerId) => Candidate | undefined,
  anyState: boolean,
): Choice {
  let fallback: WorkerId | undefined;
  for (const worker of candidates) {
    const seen = see(worker);
    if (seen === undefined || seen.standing === "dead") continue;
    if (!anyState && seen.state !== "up") continue;
    if (seen.standing === "well") return { worker, reason: "ring" };
    fallback ??= worker;
  }
  return { worker: fallback, reason: fallback === undefined ? "nobody" : "ring" };
}
