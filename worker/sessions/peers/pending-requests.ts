/**
 * Relayed requests that wait for their response: each ends with one response, or with a failure after 30 s.
 */
import type { Clock, Timer } from "../../../shared/base/clock.ts";
import type { PeerId } from "../../../shared/base/ids.ts";

export type PendingRequests = ReturnType<typeof createPendingRequests>;

export interface WaitingRequest {
  readonly requester: PeerId;
  readonly responder: PeerId;
  /** The requester's own id, byte for byte. */
  readonly id: Buffer;
}

/** As in the reference server; clients wait 60 s. */
const RESPONSE_TIMEOUT_MS = 30_000;
/** A client that opens a large workspace requests hundreds of files at once. */
const MAX_WAITING_PER_PEER = 4096;

/** `fail` is called for each request that ends without a response. */
export function createPendingRequests(deps: {
  clock: Clock;
  fail: (request: WaitingRequest) => void;
}) {
  const { clock, fail } = deps;
  // Oldest first, because all time out after the same time: one timer, for the first.
  const waiting = new Map<string, WaitingRequest & { readonly untilMs: number }>();
  const countByPeer = new Map<PeerId, number>();
  let timer: Timer | undefined;

  function remove(relayedId: string, requester: PeerId): void {
    waiting.delete(relayedId);
    const left = (countByPeer.get(requester) ?? 1) - 1;
    if (left === 0) countByPeer.delete(requester);
    else countByPeer.set(requester, left);
  }

  function expire(): void {
    timer = undefined;
    const nowMs = clock.nowMs();
    for (const [relayedId, request] of waiting) {
      if (request.untilMs > nowMs) break;
      remove(relayedId, request.requester);
      fail(request);
    }
    scheduleExpiry();
  }

  function scheduleExpiry(): void {
    const [oldest] = waiting.values();
    if (oldest === undefined || timer !== undefined) return;
    timer = clock.after(Math.max(0, oldest.untilMs - clock.nowMs()), expire);
  }

  return {
    /** Adds a request under its relayed id. `false`: the requester has too many pending. */
    add(relayedId: string, request: WaitingRequest): boolean {
      // A client that reuses an id gets one response for both, as its own library would give it.
      if (waiting.has(relayedId)) return true;
      const count = countByPeer.get(request.requester) ?? 0;
      if (count >= MAX_WAITING_PER_PEER) return false;
      countByPeer.set(request.requester, count + 1);
      waiting.set(relayedId, { ...request, untilMs: clock.nowMs() + RESPONSE_TIMEOUT_MS });
      scheduleExpiry();
      return true;
    },
    /** Ends the wait for a response. `false`: no such request is pending. */
    take(relayedId: string): boolean {
      const request = waiting.get(relayedId);
      if (request === undefined) return false;
      remove(relayedId, request.requester);
      return true;
    },
    /** A peer has left: drops its own requests and fails those that it should respond to. */
    forget(peer: PeerId): void {
      for (const [relayedId, request] of waiting) {
        if (request.requester !== peer && request.responder !== peer) continue;
        remove(relayedId, request.requester);
        if (request.responder === peer && request.requester !== peer) fail(request);
      }
    },
    close(): void {
      timer?.cancel();
      waiting.clear();
      countByPeer.clear();
    },
  };
}
