/**
 * Whether this worker may act for its sessions now (shared/membership/fence.ts), asked before each batch of input and
 * output. Once it may not, it stays so until the next beat: others may have taken its sessions over in between, and each
 * is asked for again.
 */
import type { Clock, Timer } from "../../shared/base/clock.ts";
import { mayRelay } from "../../shared/membership/fence.ts";
import { REFUSED_HEARTBEAT_AGE_MS } from "../../shared/store/ownership.ts";
import { MEMBER_LEASE_MS } from "../../shared/store/store.ts";

/**
 * `open`: relay. `undecided`: relay nothing yet, because balancers may just be finding out that the store is away for all;
 * nobody can take over so long. `shut`: relay nothing, and close all connections.
 */
export type FenceState = "open" | "undecided" | "shut";

export interface Fence {
  /** Looks at the time now. When it finds that it must shut, `onShut` is called before this returns. */
  look(): FenceState;
  /** Keeps something while `undecided`: it is done, in order, when the fence is open again, or refused when it shuts. */
  hold(held: Held): void;
  /**
   * A beat has succeeded that was sent at `sentMs`; `expired`: after the lease had run out. True: sessions may have been
   * taken over since the beat before, so each must be asked for.
   */
  noteHeartbeat(heartbeat: { readonly sentMs: number; readonly expired: boolean }): boolean;
  close(): void;
}

export interface Held {
  readonly run: () => void;
  readonly refuse: () => void;
}

/** When it is decided at the latest: a store that hangs is noticed by balancers some time after the last beat got through. */
const DECIDED_AFTER_MS = MEMBER_LEASE_MS - 250;
/** Also without any input it is found out soon: connections are closed, so that clients go where their session is. */
const PERIOD_MS = 250;
/**
 * A gap between two beats in which another worker may have been refused by our port and believed. A second less than
 * that takes, because the beat before may have arrived long after it was sent.
 */
const SUSPICIOUS_GAP_MS = REFUSED_HEARTBEAT_AGE_MS - 1000;

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
  let held: Held[] = [];

  function look(): FenceState {
    if (isShut) return "shut";
    // Who never had a lease has nothing that others could take from him.
    if (lastRenewalSentMs === undefined) return "open";
    const nowMs = clock.nowMs();
    const facts = { nowMs, lastRenewalSentMs };
    // Hearsay is asked only when it matters: this runs for each message.
    if (mayRelay({ ...facts, isStoreAwayForAll: false })) return release();
    if (needs.isStoreAwayForAll()) awayForAllMs = nowMs;
    const isStoreAwayForAll = nowMs - awayForAllMs < RETURN_GRACE_MS;
    if (mayRelay({ ...facts, isStoreAwayForAll })) return release();
    if (nowMs - lastRenewalSentMs < DECIDED_AFTER_MS) return "undecided";
    isShut = true;
    for (const { refuse } of takeHeld()) refuse();
    needs.onShut();
    return "shut";
  }

  function release(): "open" {
    if (held.length > 0) for (const { run } of takeHeld()) run();
    return "open";
  }

  function takeHeld(): Held[] {
    const taken = held;
    held = [];
    return taken;
  }

  const timer: Timer = clock.every(PERIOD_MS, look);

  return {
    look,
    hold(one) {
      held.push(one);
    },
    noteHeartbeat({ sentMs, expired }) {
      const before = lastRenewalSentMs;
      // After a stop the beat may come before any other timer: what happened in between must not be overlooked.
      const wasShut = look() === "shut";
      lastRenewalSentMs = sentMs;
      isShut = false;
      look();
      return wasShut || expired || (before !== undefined && sentMs - before >= SUSPICIOUS_GAP_MS);
    },
    close: () => timer.cancel(),
  };
}
