/**
 * Self-fencing: decides when a worker must stop relaying, because another one may own its sessions by now. Pure.
 *
 * A lease holds for `MEMBER_LEASE_MS` after the renewal reached the store, which is later than it was sent. So a worker that
 * counts from the sending, on its own monotonic clock, stops before another can take over.
 */
import { MEMBER_LEASE_MS } from "../store/store.ts";

/** How long a renewal counts after it was sent: the lease less a second for messages in flight. */
export const FENCE_MS = MEMBER_LEASE_MS - 1000;

interface FenceFacts {
  readonly nowMs: number;
  /** When the last successful renewal was sent; -Infinity before the first. */
  readonly lastRenewalSentMs: number;
  /**
   * Whether all balancers that reported lately have lost the store too: then no worker can take over. False without
   * reports.
   */
  readonly isStoreAwayForAll: boolean;
}

/** Check before each batch of input: after a SIGSTOP sockets are read before timers run. */
export function mayRelay({ nowMs, lastRenewalSentMs, isStoreAwayForAll }: FenceFacts): boolean {
  return nowMs - lastRenewalSentMs < FENCE_MS || isStoreAwayForAll;
}
