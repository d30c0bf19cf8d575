/**
 * Revoked tokens that this worker knows: those that it revoked, and those that the store reported as revoked. They are written
 * again to a store that was flushed, so that a log-out outlives a flush.
 */
import { BoundedMap } from "../../shared/base/bounded.ts";
import type { Clock } from "../../shared/base/clock.ts";
import { concurrently } from "../../shared/base/concurrently.ts";
import type { Store } from "../../shared/store/store.ts";
import { unlessAway } from "../../shared/store/unless-away.ts";

/** About 4 MB. Beyond that the oldest are forgotten here; the store still has them. */
const MAX_KNOWN = 20_000;
/** Concurrent writes to the store. */
const AT_ONCE = 16;

export function createRevocations(deps: {
  readonly store: Pick<Store, "get" | "put">;
  readonly clock: Pick<Clock, "wallMs">;
  readonly maxKnown?: number;
}) {
  const { store, clock } = deps;
  /** Oldest first. */
  const untilById = new BoundedMap<string, number>(deps.maxKnown ?? MAX_KNOWN);

  /** The same, for a token that the store has as revoked. */
  function remember(tokenId: string, untilMs: number): void {
    untilById.set(tokenId, untilMs);
  }

  return {
    /** Revokes a token until `untilMs` (wall time, ms). Rejects with `StoreAwayError`; then it is not revoked. */
    async revoke(tokenId: string, untilMs: number): Promise<void> {
      await store.put({ kind: "revoked", key: tokenId, untilMs });
      remember(tokenId, untilMs);
    },
    note: remember,
    /**
     * Whether a token is revoked. `untilMs`: when it expires anyway. While the store is away only the tokens that this worker
     * knows count as revoked, so that the edge keeps working.
     */
    async isRevoked(tokenId: string, untilMs: number): Promise<boolean> {
      if (untilById.has(tokenId)) return true;
      const isRevoked = (await unlessAway(store.get("revoked", tokenId))) !== undefined;
      if (isRevoked) remember(tokenId, untilMs);
      return isRevoked;
    },
    /** Writes the revoked tokens that this worker knows to the store again. Rejects with `StoreAwayError`. */
    async reassert(): Promise<void> {
      const left = [...untilById].filter(([tokenId, untilMs]) => {
        const isExpired = untilMs <= clock.wallMs();
        if (isExpired) untilById.delete(tokenId);
        return !isExpired;
      });
      await concurrently(left, AT_ONCE, ([key, untilMs]) =>
        store.put({ kind: "revoked", key, untilMs }),
      );
    },
  };
}
