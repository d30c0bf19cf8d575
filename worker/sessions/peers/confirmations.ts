/**
 * Confirms what the peers of one session have sent, once all that it caused has left for the others: until then their balancers
 * keep it, to send it to the next worker if this one dies.
 */
import type { Clock, Timer } from "../../../shared/base/clock.ts";
import type { Peer } from "./peer.ts";

export interface Confirmations {
  /** Something has come. Called for each message. */
  add(): void;
  close(): void;
}

/** From the first message to the confirmation of all: balancers keep that much, and it costs a frame for each sender. */
const CONFIRM_MS = 50;
/** A peer that takes nothing for longer is not waited for: what it is sent is lost if this worker dies. */
const SLOW_MS = 1000;

export function createConfirmations(deps: {
  readonly clock: Clock;
  readonly peers: () => Iterable<Peer>;
  /** Whether nothing that has come waits to be relayed. */
  readonly hasRelayedAll: () => boolean;
}): Confirmations {
  const { clock } = deps;
  let next: Timer | undefined;
  let isClosed = false;
  /** Since when a peer has not taken what it was sent. */
  const unsentSinceMs = new WeakMap<Peer, number>();

  function confirm(): void {
    next = undefined;
    if (isClosed) return;
    if (!deps.hasRelayedAll() || isSomeoneBehind()) {
      add();
      return;
    }
    for (const peer of deps.peers()) peer.confirm();
  }

  function isSomeoneBehind(): boolean {
    const nowMs = clock.nowMs();
    let isSomeone = false;
    // All of them: one that has been behind for long must not hide another.
    for (const peer of deps.peers()) {
      if (peer.unsentBytes === 0) {
        unsentSinceMs.delete(peer);
        continue;
      }
      const sinceMs = unsentSinceMs.get(peer) ?? nowMs;
      unsentSinceMs.set(peer, sinceMs);
      if (nowMs - sinceMs < SLOW_MS) isSomeone = true;
    }
    return isSomeone;
  }

  function add(): void {
    next ??= clock.after(CONFIRM_MS, confirm);
  }

  return {
    add,
    close() {
      isClosed = true;
      next?.cancel();
    },
  };
}
