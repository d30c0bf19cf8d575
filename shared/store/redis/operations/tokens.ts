/**
 * Revoked tokens, in Redis.
 */
import type { Clock } from "../../../base/clock.ts";
import type { Store } from "../../store.ts";
import type { Runner } from "../connection/connection.ts";
import { toMs } from "../values/arguments.ts";

export function createTokens(
  connection: Runner,
  clock: Clock,
): Pick<Store, "revokeToken" | "isTokenRevoked"> {
  return {
    async revokeToken(tokenId, untilMs) {
      // `exp` is in this machine's time, so the rest is measured here: Redis's clock may differ.
      const leftMs = untilMs - clock.wallMs();
      if (leftMs > 0) await connection.run("revokeToken", "revoke_token", tokenId, toMs(leftMs));
    },
    async isTokenRevoked(tokenId) {
      return (await connection.run("isTokenRevoked", "is_token_revoked", tokenId)) === 1;
    },
  };
}
