/**
 * Finds abandoned sessions: their owner is gone, and no client has made another worker take over. One elected worker takes
 * them over, waits the usual 30 s for their peers, and closes those to which none returns. Pure.
 */
import type { WorkerId } from "../base/ids.ts";

/**
 * How long an owner is missing before the reaper takes its sessions over. Meanwhile connected clients move theirs to the
 * next workers of the ring; the reaper would gather all of them on itself.
 */
const REAP_AFTER_MS = 10_000;

/** Since when each owner has been missing, on the monotonic clock. */
export type MissingOwners = ReadonlyMap<WorkerId, number>;

/** Updates the missing owners. While the store settles, none counts as missing. */
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

/** The owners whose sessions to take over now. */
export function ownersToReap(missing: MissingOwners, nowMs: number): WorkerId[] {
  return [...missing]
    .filter(([, sinceMs]) => nowMs - sinceMs >= REAP_AFTER_MS)
    .map(([owner]) => owner);
}
