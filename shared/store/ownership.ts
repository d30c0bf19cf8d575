/**
 * Who may own a session: the decision alone, without clock or store. The embedded store runs it as it is; the Redis
 * script says the same in Lua and is held to it by the contract suite.
 */
import type { Incarnation, WorkerId } from "../base/ids.ts";
import type { Reassertion, ResumeCause, SessionRecord } from "./store.ts";

/** What the store knows of a worker's lease at the moment of the question. */
export type Lease =
  | { readonly state: "gone" }
  | {
      readonly state: "held";
      readonly incarnation: Incarnation;
      readonly sinceLastHeartbeatMs: number;
    };

export type ResumeDecision =
  /** The claimant is the owner. `raise`: the epoch goes up, because the incarnation or the owner changes. */
  | { readonly verdict: "own"; readonly cause: ResumeCause; readonly raise: boolean }
  | { readonly verdict: "elsewhere" }
  | { readonly verdict: "closed" };

/** Last beat at least this old before a refused connection counts as the owner's death. */
export const REFUSED_HEARTBEAT_AGE_MS = 2500;

type Ownership = Pick<SessionRecord, "owner" | "incarnation" | "state" | "successor">;

interface Claimant {
  readonly worker: WorkerId;
  readonly incarnation: Incarnation;
  readonly evidence?: "refused" | "exited";
  readonly evidenceOf?: Incarnation;
}

/**
 * Who has to do with the session until somebody else takes it over: the successor of a released one, else the owner. Its
 * lease is what a take-over depends on, and its id is what a worker that may not have the session answers.
 */
export function holderOf(record: Ownership): WorkerId {
  return record.state === "released" ? (record.successor ?? record.owner) : record.owner;
}

/**
 * Whether `claimant` may own the session of `record`, and why. `leases.holder` is the lease of `holderOf(record)`,
 * `leases.claimant` that of the claimant's own id.
 */
export function decideResume(
  record: Ownership,
  claimant: Claimant,
  leases: { readonly holder: Lease; readonly claimant: Lease },
): ResumeDecision {
  if (record.state === "closed") return { verdict: "closed" };
  // A process whose id was taken over by a newer incarnation has ended as a member: it must not win its sessions back.
  if (isHeldByAnother(leases.claimant, claimant.incarnation)) return { verdict: "elsewhere" };
  if (record.owner === claimant.worker) {
    if (record.incarnation !== claimant.incarnation) {
      return { verdict: "own", cause: "restarted", raise: true };
    }
    // A worker that released a session and is asked for it again takes it back only when nobody else is meant.
    if (record.state !== "released") return { verdict: "own", cause: "mine", raise: false };
  }
  if (record.state === "released" && (record.successor ?? claimant.worker) === claimant.worker) {
    return { verdict: "own", cause: "handed", raise: true };
  }
  return decideTakeOver(record, claimant, leases.holder);
}

/**
 * What becomes of an owner's word about its session (`Store.reassertSession`): the higher epoch is right. `known` is the
 * store's record, if it has one; `lease` that of the owner's id.
 */
export function decideReassert(
  known: Pick<SessionRecord, "owner" | "incarnation" | "epoch" | "state"> | undefined,
  asserted: Pick<Reassertion, "owner" | "incarnation" | "epoch" | "state">,
  lease: Lease,
): "written" | "kept" | "lost" {
  if (isHeldByAnother(lease, asserted.incarnation)) return "lost";
  if (known === undefined || known.epoch < asserted.epoch) return "written";
  if (known.epoch > asserted.epoch || known.owner !== asserted.owner) return "lost";
  if (known.state === "closed") return asserted.state === "closed" ? "kept" : "lost";
  if (asserted.state === "closed") return "written";
  return known.incarnation === asserted.incarnation ? "kept" : "lost";
}

/** The epoch after `previous`, at store time `nowMs`: it always rises, and survives a flush of the store. */
export function nextEpoch(previous: number, nowMs: number): number {
  return Math.max(previous + 1, nowMs);
}

function decideTakeOver(record: Ownership, claimant: Claimant, holder: Lease): ResumeDecision {
  if (holder.state === "gone") return { verdict: "own", cause: "lease-gone", raise: true };
  // The record names the incarnation of the owner; a successor may come in any.
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
