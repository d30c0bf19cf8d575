/**
 * Who of a session came back after a lost connection, and after how long: for its history, by which operators answer
 * people who were cut off. Only a return is noted; who does not come back leaves, which is noted anyway.
 */
import type { Clock } from "../../shared/base/clock.ts";
import type { PeerId } from "../../shared/base/ids.ts";
import type { PeerRecord } from "../../shared/store/store.ts";

export interface ReconnectLog {
  /** It has no connection now. */
  lost(peer: PeerId): void;
  /** It has one. */
  connected(peer: Pick<PeerRecord, "id" | "host" | "user">, isKnown: boolean): void;
  /** It will not come back. */
  forget(peer: PeerId): void;
}

const WINDOW_MS = 60_000;
/** Returns of a session that are noted within a minute: a client that flaps shall not push out the history of others. */
const MAX_PER_WINDOW = 60;

export function createReconnectLog(needs: {
  readonly clock: Pick<Clock, "nowMs">;
  readonly note: (cause: string) => void;
}): ReconnectLog {
  const { clock, note } = needs;
  const lostMs = new Map<PeerId, number>();
  let windowEndMs = Number.NEGATIVE_INFINITY;
  let noted = 0;

  return {
    lost(peer) {
      if (!lostMs.has(peer)) lostMs.set(peer, clock.nowMs());
    },
    connected({ id, host, user }, isKnown) {
      const sinceMs = lostMs.get(id);
      lostMs.delete(id);
      if (sinceMs === undefined || !isKnown) return;
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
