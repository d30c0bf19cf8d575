/**
 * Who may own a session: the decision alone, without clock or store. The embedded store runs it as it is; the Redis
 * script says the same in Lua and is held to it by the contract suite.
 */
import type { Incarnation, WorkerId } from "../ids.ts";
import type { ResumeCause, SessionRecord } from "../store/store.ts";

/** What the store knows of the owner's lease at the moment of the question. */
export type OwnerLease =
  | { readonly state: "gone" }
  | { readonly state: "held"; readonly incarnation: Incarnation; readonly sinceLastBeatMs: number };

export type ResumeDecision =
  /** The claimant is the owner. `raise`: the epoch goes up, because the incarnation or the owner changes. */
  | { readonly verdict: "own"; readonly cause: ResumeCause; readonly raise: boolean }
  | { readonly verdict: "elsewhere" }
  | { readonly verdict: "closed" };

/** Last beat at least this old before a refused connection counts as the owner's death. */
export const REFUSED_BEAT_AGE_MS = 2500;

/** Whether `claimant` may own the session of `record`, and why. */
export function decideResume(
  record: Pick<SessionRecord, "owner" | "incarnation" | "state" | "heir">,
  claimant: {
    readonly worker: WorkerId;
    readonly incarnation: Incarnation;
    readonly evidence?: "refused" | "exited";
  },
  ownerLease: OwnerLease,
): ResumeDecision {
  if (record.state === "closed") return { verdict: "closed" };
  if (record.owner === claimant.worker) {
    if (record.incarnation !== claimant.incarnation) {
      return { verdict: "own", cause: "restarted", raise: true };
    }
    // A worker that released a session and is asked for it again takes it back only when nobody else is meant.
    if (record.state !== "released") return { verdict: "own", cause: "mine", raise: false };
  }
  if (record.state === "released") {
    return record.heir === undefined || record.heir === claimant.worker
      ? { verdict: "own", cause: "handed", raise: true }
      : decideTakeOver(record, claimant, ownerLease);
  }
  return decideTakeOver(record, claimant, ownerLease);
}

/** The epoch after `previous`, at store time `nowMs`: it always rises, and survives a flush of the store. */
export function nextEpoch(previous: number, nowMs: number): number {
  return Math.max(previous + 1, nowMs);
}

function decideTakeOver(
  record: Pick<SessionRecord, "incarnation">,
  claimant: { readonly evidence?: "refused" | "exited" },
  ownerLease: OwnerLease,
): ResumeDecision {
  if (ownerLease.state === "gone") return { verdict: "own", cause: "lease-gone", raise: true };
  if (ownerLease.incarnation !== record.incarnation) {
    return { verdict: "own", cause: "replaced", raise: true };
  }
  if (claimant.evidence === "exited") return { verdict: "own", cause: "exited", raise: true };
  if (claimant.evidence === "refused" && ownerLease.sinceLastBeatMs >= REFUSED_BEAT_AGE_MS) {
    return { verdict: "own", cause: "refused", raise: true };
  }
  return { verdict: "elsewhere" };
}
