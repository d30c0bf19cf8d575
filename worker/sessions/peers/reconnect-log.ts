/**
 * Records in a session's history which peer reconnected and after how long: operators look it up for users who were
 * disconnected. A peer that does not return has left, which is recorded elsewhere.
 */
import type { Clock } from "../../../shared/base/clock.ts";
import type { PeerId } from "../../../shared/base/ids.ts";
import type { PeerRecord } from "../../../shared/store/store.ts";

export interface ReconnectLog {
  /** Its connection was lost. */
  lost(peer: PeerId): void;
  /** It is connected. `isReturning`: it was in the session before. */
  connected(peer: Pick<PeerRecord, "id" | "host" | "user">, isReturning: boolean): void;
  /** It has left for good. */
  forget(peer: PeerId): void;
}

const WINDOW_MS = 60_000;
/** Entries per session and minute: a flapping client must not push other entries out of the history. */
const MAX_PER_WINDOW = 60;

export function createReconnectLog(deps: {
  readonly clock: Pick<Clock, "nowMs">;
  readonly note: (cause: string) => void;
}): ReconnectLog {
  const { clock, note } = deps;
  const lostMs = new Map<PeerId, number>();
  let windowEndMs = Number.NEGATIVE_INFINITY;
  let noted = 0;

  return {
    lost(peer) {
      if (!lostMs.has(peer)) lostMs.set(peer, clock.nowMs());
    },
    connected({ id, host, user }, isReturning) {
      const sinceMs = lostMs.get(id);
      lostMs.delete(id);
      if (sinceMs === undefined || !isReturning) return;
      const nowMs = clock.nowMs();
      if (nowMs >= windowEndMs) {
        windowEndMs = nowMs + WINDOW_MS;
        noted = 0;
      }
      if (++noted > MAX_PER_WINDOW) return;
      const awayS = ((nowMs - sinceMs) / 1000).toFixed(1);
      note(`${host ? "host" : "guest"} ${user.name}, after ${awayS} s`);
    },
    forget: (peer) => void lostMs.delete(peer),
  };
}
