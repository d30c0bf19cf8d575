/**
 * Decides who may own a session. Pure. The embedded store calls these functions; scripts/ownership.lua repeats them for
 * Redis, and a property test compares the two.
 */
import type { Incarnation, WorkerId } from "../base/ids.ts";
import type { Reassertion, ResumeCause, SessionRecord } from "./store.ts";

/** A worker's lease at the time of the request. */
export type Lease =
  | { readonly state: "gone" }
  | {
      readonly state: "held";
      readonly incarnation: Incarnation;
      readonly sinceLastHeartbeatMs: number;
    };

type ResumeDecision =
  /** The claimant becomes or stays the owner. `raise`: the epoch rises, because owner or incarnation changes. */
  | { readonly verdict: "own"; readonly cause: ResumeCause; readonly raise: boolean }
  | { readonly verdict: "elsewhere" }
  | { readonly verdict: "closed" };

/** A refused connection counts as the owner's death only when its last heartbeat is at least this old. */
export const REFUSED_HEARTBEAT_AGE_MS = 2500;

type Ownership = Pick<SessionRecord, "owner" | "incarnation" | "state" | "successor">;

interface Claimant {
  readonly worker: WorkerId;
  readonly incarnation: Incarnation;
  readonly evidence?: "refused" | "exited";
  readonly evidenceOf?: Incarnation;
}

/**
 * The worker to send clients to: the successor of a released session, else the owner. A take-over depends on its lease, and
 * a worker that may not have the session responds 421 with its id.
 */
export function holderOf(record: Ownership): WorkerId {
  return record.state === "released" ? (record.successor ?? record.owner) : record.owner;
}

/**
 * Whether `claimant` may own the session, and why. `leases.holder` is the lease of `holderOf(record)`, `leases.claimant`
 * that of the claimant's id.
 */
export function decideResume(
  record: Ownership,
  claimant: Claimant,
  leases: { readonly holder: Lease; readonly claimant: Lease },
): ResumeDecision {
  if (record.state === "closed") return { verdict: "closed" };
  // A newer incarnation has taken the claimant's id: this process is no member any more and must not regain its sessions.
  if (isHeldByAnother(leases.claimant, claimant.incarnation)) return { verdict: "elsewhere" };
  if (record.owner === claimant.worker) {
    if (record.incarnation !== claimant.incarnation) {
      return { verdict: "own", cause: "restarted", raise: true };
    }
    // The worker that released the session may take it back only when no other worker is its successor.
    if (record.state !== "released") return { verdict: "own", cause: "mine", raise: false };
  }
  if (record.state === "released" && (record.successor ?? claimant.worker) === claimant.worker) {
    return { verdict: "own", cause: "handed", raise: true };
  }
  return decideTakeOver(record, claimant, leases.holder);
}

/**
 * The outcome of `Store.reassertSession`: the higher epoch wins. `stored` is the store's record, if any; `lease` that of the
 * asserting owner's id.
 */
export function decideReassert(
  stored: Pick<SessionRecord, "owner" | "incarnation" | "epoch" | "state"> | undefined,
  asserted: Pick<Reassertion, "owner" | "incarnation" | "epoch" | "state">,
  lease: Lease,
): "written" | "kept" | "lost" {
  if (isHeldByAnother(lease, asserted.incarnation)) return "lost";
  if (stored === undefined || stored.epoch < asserted.epoch) return "written";
  if (stored.epoch > asserted.epoch || stored.owner !== asserted.owner) return "lost";
  if (stored.state === "closed") return asserted.state === "closed" ? "kept" : "lost";
  if (asserted.state === "closed") return "written";
  return stored.incarnation === asserted.incarnation ? "kept" : "lost";
}

/** The epoch after `previous`, at store time `nowMs`. It rises over a flush of the store too. */
export function nextEpoch(previous: number, nowMs: number): number {
  return Math.max(previous + 1, nowMs);
}

function decideTakeOver(record: Ownership, claimant: Claimant, holder: Lease): ResumeDecision {
  if (holder.state === "gone") return { verdict: "own", cause: "lease-gone", raise: true };
  // The record's incarnation is the owner's; a successor may have any.
  if (record.state !== "released" && isHeldByAnother(holder, record.incarnation)) {
    return { verdict: "own", cause: "replaced", raise: true };
  }
  if (claimant.evidenceOf !== undefined && claimant.evidenceOf !== holder.incarnation) {
    return { verdict: "elsewhere" };
  }
  if (claimant.evidence === "exited") return { verdict: "own", cause: "exited", raise: true };
  if (claimant.evidence === "refused" && holder.sinceLastHeartbeatMs >= REFUSED_HEARTBEAT_AGE_MS) {
    return { verdict: "own", cause: "refused", raise: true };
  }
  return { verdict: "elsewhere" };
}

function isHeldByAnother(lease: Lease, incarnation: Incarnation): boolean {
  return lease.state === "held" && lease.incarnation !== incarnation;
}
