/**
 * Self-fencing: when a worker must stop acting for its sessions, because another one may own them by now. Pure.
 *
 * A lease holds for `MEMBER_LEASE_MS` after the renewal arrived at the store, and that is later than when it was sent. So
 * a worker that measures from its own sending, by its own monotonic clock, stops before anybody can take over.
 */
import { MEMBER_LEASE_MS } from "../store/store.ts";

/** A renewal counts for so long after it was sent: the lease, less a second for what is under way. */
export const FENCE_MS = MEMBER_LEASE_MS - 1000;

export interface FenceFacts {
  readonly nowMs: number;
  /** When the last renewal that succeeded was sent; -Infinity before the first. */
  readonly lastRenewalSentMs: number;
  /** Whether every balancer heard lately says that the store is away: then nobody can take over. False when none was. */
  readonly isStoreAwayForAll: boolean;
}

/** Whether a worker may relay now. To be asked before each batch of input: after a SIGSTOP sockets are read before timers run. */
export function mayRelay({ nowMs, lastRenewalSentMs, isStoreAwayForAll }: FenceFacts): boolean {
  return nowMs - lastRenewalSentMs < FENCE_MS || isStoreAwayForAll;
}
