/**
 * Records in a session's history which peer reconnected and after how long: operators look it up for users who were
 * disconnected. A peer that does not return has left, which is recorded elsewhere.
 */
import type { Clock } from "../../../shared/base/clock.ts";
import type { PeerId } from "../../../shared/base/ids.ts";
import type { PeerRecord } from "../../../shared/store/store.ts";

export type ReconnectLog = ReturnType<typeof createReconnectLog>;

const WINDOW_MS = 60_000;
/** Entries per session and minute: a flapping client must not push other entries out of the history. */
const MAX_PER_WINDOW = 60;

export function createReconnectLog(deps: {
  readonly clock: Pick<Clock, "nowMs">;
  readonly note: (cause: string) => void;
}) {
  const { clock, note } = deps;
  const lostMs = new Map<PeerId, number>();
  let windowEndMs = Number.NEGATIVE_INFINITY;
  let noted = 0;

  return {
    /** Its connection was lost. */
    lost(peer: PeerId): void {
      if (!lostMs.has(peer)) lostMs.set(peer, clock.nowMs());
    },
    /** It is connected. `isReturning`: it was in the session before. */
    connected(
      { id, host, user }: Pick<PeerRecord, "id" | "host" | "user">,
      isReturning: boolean,
    ): void {
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
    /** It has left for good. */
    forget: (peer: PeerId): void => void lostMs.delete(peer),
  };
}
