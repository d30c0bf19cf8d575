/**
 * Reconciles the members after a read of the store. Pure.
 *
 * A missing member is not always gone: a store that is new or was flushed has no members yet, and a store that lost all
 * workers is more likely than all of them ending at once. In a settled store with workers, a missing member is gone.
 */
import type { BalancerRecord, MemberRecord, WorkerRecord } from "../store/member.ts";
import type { Membership } from "../store/store.ts";

/** Each member once; in any order. */
export interface Members {
  readonly workers: readonly WorkerRecord[];
  readonly balancers: readonly BalancerRecord[];
}

export function reconcile(before: Members, seen: Pick<Membership, "members" | "booted">): Members {
  const workers = seen.members.filter((member) => member.kind === "worker");
  const balancers = seen.members.filter((member) => member.kind === "balancer");
  if (!seen.booted) {
    // Members that are listed exist; the others may only be missing.
    return {
      workers: [...before.workers.filter((old) => isMissing(old, workers)), ...workers],
      balancers: [...before.balancers.filter((old) => isMissing(old, balancers)), ...balancers],
    };
  }
  return { workers: workers.length === 0 ? before.workers : workers, balancers };
}

function isMissing(member: MemberRecord, from: readonly MemberRecord[]): boolean {
  return from.every((other) => other.id !== member.id);
}
