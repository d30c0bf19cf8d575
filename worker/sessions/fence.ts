/**
 * Whether this worker may act for its sessions now (shared/membership/fence.ts), asked before each batch of input and
 * output. Once it may not, it stays so until the next beat: others may have taken its sessions over in between, and each
 * is asked for again.
 */
import type { Clock, Timer } from "../../shared/clock.ts";
import { mayRelay } from "../../shared/membership/fence.ts";
import { REFUSED_BEAT_AGE_MS } from "../../shared/membership/ownership.ts";

export interface Fence {
  /** Looks at the time now. False: nothing may be relayed, and `onShut` has been called. */
  check(): boolean;
  /**
   * A beat has succeeded that was sent at `sentMs`; `expired`: after the lease had run out. True: sessions may have been
   * taken over since the beat before, so each must be asked for.
   */
  noteBeat(beat: { readonly sentMs: number; readonly expired: boolean }): boolean;
  close(): void;
}

/** Also without any input it is found out soon: connections are closed, so that clients go where their session is. */
const PERIOD_MS = 250;
/**
 * A gap between two beats in which another worker may have been refused by our port and believed. A second less than
 * that takes, because the beat before may have arrived long after it was sent.
 */
const SUSPICIOUS_GAP_MS = REFUSED_BEAT_AGE_MS - 1000;

/**
 * When the store is back after it was away for all, balancers may say so before this worker's next beat has got through. A
 * store that nobody reached for a lease believes nobody to be gone for longer than this.
 */
const RETURN_GRACE_MS = 3000;

export function createFence(needs: {
  readonly clock: Clock;
  readonly isStoreAwayForAll: () => boolean;
  /** Called each time when it shuts. */
  readonly onShut: () => void;
}): Fence {
  const { clock } = needs;
  let lastRenewalSentMs: number | undefined;
  let isShut = false;
  let awayForAllMs = Number.NEGATIVE_INFINITY;

  function check(): boolean {
    if (isShut) return false;
    // Who never had a lease has nothing that others could take from him.
    if (lastRenewalSentMs === undefined) return true;
    const nowMs = clock.nowMs();
    const facts = { nowMs, lastRenewalSentMs };
    // Hearsay is asked only when it matters: this runs for each message.
    if (mayRelay({ ...facts, isStoreAwayForAll: false })) return true;
    if (needs.isStoreAwayForAll()) awayForAllMs = nowMs;
    const isStoreAwayForAll = nowMs - awayForAllMs < RETURN_GRACE_MS;
    if (mayRelay({ ...facts, isStoreAwayForAll })) return true;
    isShut = true;
    needs.onShut();
    return false;
  }

  const timer: Timer = clock.every(PERIOD_MS, check);

  return {
    check,
    noteBeat({ sentMs, expired }) {
      const before = lastRenewalSentMs;
      // After a stop the beat may come before any other timer: what happened in between must not be overlooked.
      const wasShut = !check();
      lastRenewalSentMs = sentMs;
      isShut = false;
      return wasShut || expired || (before !== undefined && sentMs - before >= SUSPICIOUS_GAP_MS);
    },
    close: () => timer.cancel(),
  };
}
