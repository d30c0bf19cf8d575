/**
 * Room tokens without signatures: signing waits for Node's thread pool, and a run must not wait for anything. What they say
 * is what real ones say.
 */
import type { Clock } from "../../shared/base/clock.ts";
import { randomAlphanumerics } from "../../shared/base/ids.ts";
import { ROOM_TOKEN_MS, type RoomClaims, type Tokens } from "../../worker/login/tokens.ts";

export function createModelTokens(clock: Pick<Clock, "wallMs">): Tokens {
  return {
    async signRoom(claims) {
      const expMs = clock.wallMs() + ROOM_TOKEN_MS;
      const payload = {
        ...claims,
        room: claims.sessionId,
        tokenId: randomAlphanumerics(24),
        expMs,
      };
      return `model.${Buffer.from(JSON.stringify(payload)).toString("base64url")}.unsigned`;
    },
    async verifyRoom(token) {
      const claims = readClaims(token);
      return { ...claims, expired: clock.wallMs() >= claims.expMs };
    },
    signUser: unused,
    verifyUser: unused,
    revokeUser: unused,
    signOperator: unused,
    verifyOperator: unused,
    noteEnded: unused,
    reassertRevoked: unused,
  };
}

/** What is in a token of the model. */
export function readClaims(token: string): RoomClaims & { tokenId: string; expMs: number } {
  return JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString());
}

function unused(): never {
  throw new Error("nobody signs in to the model");
}
