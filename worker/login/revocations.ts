/**
 * The tokens that must not be used again, as this worker knows them: those that it revoked, and those that the store said
 * were revoked. A store that was flushed is told of them again, so that a log-out outlives it.
 */
import type { Clock } from "../../shared/base/clock.ts";
import { type Store, StoreAwayError } from "../../shared/store/store.ts";

export interface Revocations {
  /** Revokes a token until `untilMs` (wall time, ms). Rejects with `StoreAwayError`; then it is not revoked. */
  revoke(tokenId: string, untilMs: number): Promise<void>;
  /**
   * Whether a token is revoked. `untilMs`: when it would end anyway. While the store is away, only what this worker knows
   * counts: a live edge goes on.
   */
  isRevoked(tokenId: string, untilMs: number): Promise<boolean>;
  /** Writes what is known to the store again. Rejects with `StoreAwayError`. */
  reassert(): Promise<void>;
}

/** About 4 MB. With more, the ones learned first are forgotten here; the store still has them. */
const MAX_KNOWN = 20_000;
/** Writes to the store at a time. */
const AT_ONCE = 16;

export function createRevocations(needs: {
  readonly store: Pick<Store, "isTokenRevoked" | "revokeToken">;
  readonly clock: Pick<Clock, "wallMs">;
  readonly maxKnown?: number;
}): Revocations {
  const { store, clock } = needs;
  const maxKnown = needs.maxKnown ?? MAX_KNOWN;
  /** Oldest first. */
  const untilById = new Map<string, number>();

  function remember(tokenId: string, untilMs: number): void {
    untilById.delete(tokenId);
    untilById.set(tokenId, untilMs);
    const [oldest] = untilById.keys();
    if (untilById.size > maxKnown && oldest !== undefined) untilById.delete(oldest);
  }

  return {
    async revoke(tokenId, untilMs) {
      await store.revokeToken(tokenId, untilMs);
      remember(tokenId, untilMs);
    },
    async isRevoked(tokenId, untilMs) {
      if (untilById.has(tokenId)) return true;
      try {
        const isRevoked = await store.isTokenRevoked(tokenId);
        if (isRevoked) remember(tokenId, untilMs);
        return isRevoked;
      } catch (error) {
        if (error instanceof StoreAwayError) return false;
        throw error;
      }
    },
    async reassert() {
      const left = [...untilById].filter(([tokenId, untilMs]) => {
        const isOver = untilMs <= clock.wallMs();
        if (isOver) untilById.delete(tokenId);
        return !isOver;
      });
      async function next(): Promise<void> {
        for (let known = left.pop(); known !== undefined; known = left.pop()) {
          await store.revokeToken(...known);
        }
      }
      await Promise.all(Array.from({ length: AT_ONCE }, next));
    },
  };
}
