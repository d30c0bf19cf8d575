/**
 * What to hold true of the members after a look into the store. Pure.
 *
 * What is missing from a look is not always gone: a store that is new or was flushed knows nobody yet, and all workers
 * ending in the same moment is less likely than a store that lost them (DESIGN: an empty set, or one without the boot key,
 * is not believed). A lease that is missing in a store that is reached and settled is believed to be gone at once.
 */

import type { BalancerRecord, MemberRecord, WorkerRecord } from "../store/member.ts";
import type { Membership } from "../store/store.ts";

/** Each member once; in any order. */
export interface Members {
  readonly workers: readonly WorkerRecord[];
  readonly balancers: readonly BalancerRecord[];
}

/** What is true after `seen`, when `before` was. */
export function reconcile(before: Members, seen: Pick<Membership, "members" | "booted">): Members {
  const workers = seen.members.filter((member) => member.kind === "worker");
  const balancers = seen.members.filter((member) => member.kind === "balancer");
  if (!seen.booted) {
    // Whoever is there is there; that others are missing says nothing yet.
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
