/**
 * Revoked tokens, until they expire.
 */

import { type Restored, recordKey } from "../format/records.ts";
import type { Effects, Write } from "./effects.ts";
import type { Operations } from "./operations.ts";
import { createSweeper } from "./sweeper.ts";
import type { StoreTime } from "./time.ts";

/** Beyond it the oldest is dropped: signing in and out all day must not fill the memory. */
const MAX_REVOKED = 200_000;

export interface RevokedTokens extends Pick<Operations, "revokeToken" | "isTokenRevoked"> {
  /** Drops some expired tokens; call it periodically. */
  sweep(now: StoreTime): void;
  restore(record: Extract<Restored, { kind: "revoked" }>): void;
  /** All records, as journalled. */
  entries(): Iterable<Write>;
}

export function createRevokedTokens(effects: Effects): RevokedTokens {
  const untilById = new Map<string, number>();
  const sweeper = createSweeper(untilById);

  function drop(tokenId: string): void {
    untilById.delete(tokenId);
    effects.write(recordKey.revoked(tokenId), undefined);
  }

  return {
    revokeToken(_now, tokenId, until) {
      // A later end that was set before stays.
      const untilMs = Math.max(until, untilById.get(tokenId) ?? 0);
      untilById.set(tokenId, untilMs);
      effects.write(recordKey.revoked(tokenId), untilMs);
      const [first] = untilById.keys();
      if (untilById.size > MAX_REVOKED && first !== undefined) drop(first);
    },
    isTokenRevoked(now, tokenId) {
      return now.wallMs < (untilById.get(tokenId) ?? 0);
    },
    sweep(now) {
      sweeper.sweep((untilMs, tokenId) => {
        if (now.wallMs >= untilMs) drop(tokenId);
      });
    },
    restore({ tokenId, untilMs }) {
      untilById.set(tokenId, untilMs);
    },
    *entries() {
      for (const [tokenId, untilMs] of untilById) yield [recordKey.revoked(tokenId), untilMs];
    },
  };
}
