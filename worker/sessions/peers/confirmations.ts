/**
 * Confirms what the peers of one session have sent, once all that it caused has left for the others: until then their balancers
 * keep it, to send it to the next worker if this one dies.
 */
import type { Clock, Timer } from "../../../shared/base/clock.ts";
import type { Peer } from "./peer.ts";

export type Confirmations = ReturnType<typeof createConfirmations>;

/** From the first message to the confirmation of all, which costs a frame for each sender. */
const CONFIRM_MS = 250;
/** Balancers keep 64 KiB of each sender: in a session that sends much, the confirmation begins so long after so many bytes. */
const MUCH_BYTES = 16_384;
const MUCH_MS = 10;
const RETRY_MS = 50;
/** What has left for a receiver may be lost with this process until it has arrived; a confirmation is so much later. */
const ARRIVAL_MS = 20;
/**
 * A peer that is away, or takes nothing, for longer is not waited for: what it is sent is lost if this worker dies. Peers whose
 * session has just come here are away for a moment.
 */
const SLOW_MS = 1000;

export function createConfirmations(deps: {
  readonly clock: Clock;
  readonly peers: () => Iterable<Peer>;
  /** Whether nothing that has come waits to be relayed. */
  readonly hasRelayedAll: () => boolean;
}) {
  const { clock } = deps;
  let next: Timer | undefined;
  let isClosed = false;
  /** Whether `confirm` is next: what has come before is marked as relayed. */
  let isMarked = false;
  /** Since then, or since the last confirmation. */
  let hasMore = false;
  let moreBytes = 0;
  /** Since when peers have not taken what they were sent. */
  const behindSinceMs = new WeakMap<Peer, number>();

  function mark(): boolean {
    if (!deps.hasRelayedAll() || isSomeoneBehind()) return false;
    hasMore = false;
    moreBytes = 0;
    for (const peer of deps.peers()) peer.markRelayed();
    return true;
  }

  /** Begins a confirmation of all that has come, now. A connection that is moved meanwhile confirms it itself. */
  function begin(): void {
    isMarked = mark();
    schedule(isMarked ? ARRIVAL_MS : RETRY_MS);
  }

  function confirm(): void {
    isMarked = false;
    next = undefined;
    for (const peer of deps.peers()) peer.confirm();
    if (hasMore) schedule(moreBytes < MUCH_BYTES ? CONFIRM_MS : MUCH_MS);
  }

  function schedule(inMs: number): void {
    next?.cancel();
    next = isClosed ? undefined : clock.after(inMs, isMarked ? confirm : begin);
  }

  function isSomeoneBehind(): boolean {
    const nowMs = clock.nowMs();
    let isBehind = false;
    for (const peer of deps.peers()) {
      if (peer.unsentBytes === 0 && !peer.isCut) {
        behindSinceMs.delete(peer);
        continue;
      }
      const sinceMs = behindSinceMs.get(peer) ?? nowMs;
      behindSinceMs.set(peer, sinceMs);
      if (nowMs - sinceMs < SLOW_MS) isBehind = true;
    }
    return isBehind;
  }

  return {
    /** So many bytes have come. Called for each message. */
    add(bytes: number): void {
      const hadMuch = moreBytes >= MUCH_BYTES;
      hasMore = true;
      moreBytes += bytes;
      if (next === undefined) schedule(CONFIRM_MS);
      if (!isMarked && !hadMuch && moreBytes >= MUCH_BYTES) schedule(MUCH_MS);
    },
    begin,
    close(): void {
      isClosed = true;
      next?.cancel();
    },
  };
}
