/**
 * Which sessions nobody looks after: those whose owner is gone and that no client has brought to another worker. One
 * elected worker takes them over, gives their peers the usual 30 s, and so closes what nobody comes back to. Pure.
 */
import type { WorkerId } from "../base/ids.ts";

/**
 * An owner is missing for so long before its sessions are taken over by the reaper. Clients that live bring their sessions
 * to the ring's next worker within that time; the reaper would gather all of them on itself.
 */
export const REAP_AFTER_MS = 10_000;

/** Since when owners of sessions have been missing, on the observer's monotonic clock. */
export type MissingOwners = ReadonlyMap<WorkerId, number>;

/** What is known of missing owners after a look at the store. An unsettled store says nothing about who is gone. */
export function recordMissing(
  before: MissingOwners,
  seen: {
    readonly owners: readonly WorkerId[];
    readonly alive: ReadonlySet<WorkerId>;
    readonly booted: boolean;
    readonly nowMs: number;
  },
): MissingOwners {
  if (!seen.booted) return new Map();
  const missing = seen.owners.filter((owner) => !seen.alive.has(owner));
  return new Map(missing.map((owner) => [owner, before.get(owner) ?? seen.nowMs]));
}

/** Owners whose sessions are to be taken over now. */
export function ownersToReap(missing: MissingOwners, nowMs: number): WorkerId[] {
  return [...missing]
    .filter(([, sinceMs]) => nowMs - sinceMs >= REAP_AFTER_MS)
    .map(([owner]) => owner);
}
