/**
 * Confirms what the peers of one session have sent, once all that it caused has left for the others: until then their balancers
 * keep it, to send it to the next worker if this one dies.
 */
import type { Clock, Timer } from "../../../shared/base/clock.ts";
import type { Peer } from "./peer.ts";

export interface Confirmations {
  /** Something has come. Called for each message. */
  add(): void;
  /** Confirms at once if that can be done. */
  confirm(): void;
  close(): void;
}

/** From the first message to the confirmation of all: balancers keep that much, and it costs a frame for each sender. */
const CONFIRM_MS = 50;
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
}): Confirmations {
  const { clock } = deps;
  let next: Timer | undefined;
  let isClosed = false;
  /** Since when peers have not taken what they were sent. */
  const behindSinceMs = new WeakMap<Peer, number>();

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
    let isBehind = false;
    for (const peer of deps.peers()) {
      if (peer.unsentBytes === 0) {
        behindSinceMs.delete(peer);
        continue;
      }
      const sinceMs = behindSinceMs.get(peer) ?? nowMs;
      behindSinceMs.set(peer, sinceMs);
      if (nowMs - sinceMs < SLOW_MS) isBehind = true;
    }
    return isBehind;
  }

  function add(): void {
    next ??= clock.after(CONFIRM_MS, confirm);
  }

  return {
    add,
    confirm() {
      next?.cancel();
      confirm();
    },
    close() {
      isClosed = true;
      next?.cancel();
    },
  };
}
