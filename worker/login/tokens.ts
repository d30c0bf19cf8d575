/**
 * The two kinds of signed tokens: a user token identifies a user, a room token allows its holder to be one certain peer of one
 * session. HS256 (RFC 7518 §3.2) with the edge's token key, so any worker can verify what another has signed.
 */
import { errors, type JWTPayload, jwtVerify, SignJWT } from "jose";
import { z } from "zod";
import type { Clock } from "../../shared/base/clock.ts";
import { peerIdSchema, sessionIdSchema } from "../../shared/base/id-schemas.ts";
import { type PeerId, randomAlphanumerics, type SessionId } from "../../shared/base/ids.ts";
import type { PurposeKeys } from "../../shared/settings/keyring.ts";
import { type OperatorRole, ROLES } from "../../shared/settings/operator-roles.ts";
import type { Store, UserRecord } from "../../shared/store/store.ts";
import { createRevocations } from "./revocations.ts";

export interface Tokens {
  /** A token that identifies `user`. Valid for 30 days. */
  signUser(user: UserRecord): Promise<string>;
  /**
   * The user of `token`; undefined when it is malformed, too long, signed with another key, expired, revoked, or a room
   * token. While the store is away a token that another worker revoked is accepted, so that the edge keeps working.
   */
  verifyUser(token: string): Promise<UserToken | undefined>;
  /** A token with which its holder joins, and may rejoin, as the peer `peerId`. Valid for 24 hours. */
  signRoom(claims: RoomClaims): Promise<string>;
  /**
   * What `token` allows; undefined when it is malformed, too long, signed with another key, revoked, or a user token. An
   * expired one is reported as such, because a recorded peer of an open session may rejoin with it. While the store is away
   * a token that another worker revoked is accepted.
   */
  verifyRoom(token: string): Promise<RoomToken | undefined>;
  /** A token for an operator who has signed in at an identity provider. Valid for 12 hours. */
  signOperator(claims: OperatorClaims): Promise<string>;
  /** What `token` says; undefined as for `verifyUser`. */
  verifyOperator(token: string): Promise<OperatorToken | undefined>;
  /** Revokes a user token. Rejects with `StoreAwayError`. */
  revokeUser(token: UserToken): Promise<void>;
  /** Another process has ended a sign-in, until `untilMs` (wall time, ms): remembered, for a store that is flushed later. */
  noteEnded(signIn: string, untilMs: number): void;
  /** Writes the revoked tokens again, to a store that was flushed. Rejects with `StoreAwayError`. */
  reassertRevoked(): Promise<void>;
}

export interface UserToken {
  readonly user: UserRecord;
  /** Its `jti`. */
  readonly tokenId: string;
  /** Wall time in ms at which it expires. */
  readonly expMs: number;
}

export interface OperatorClaims {
  /** The user's. */
  readonly id: string;
  readonly name: string;
  readonly role: OperatorRole;
  /** The provider's id, whose groups gave the role. */
  readonly provider: string;
  readonly signIn: string;
}

export interface OperatorToken extends OperatorClaims {
  /** Wall time in ms until which it is accepted. */
  readonly untilMs: number;
}

export interface RoomClaims {
  readonly sessionId: SessionId;
  /** 0 for the host; counts joins, so that a user who joins twice gets two different tokens. */
  readonly clock: number;
  readonly peerId: PeerId;
  readonly user: UserRecord;
  readonly host: boolean;
}

export interface RoomToken extends RoomClaims {
  /** Its `jti`. */
  readonly tokenId: string;
  /** Wall time in ms at which it expires. */
  readonly expMs: number;
  readonly expired: boolean;
}

const ISSUER = "codetogether-edge";
/** An audience for each kind of token, so that none is accepted as another. */
const USER_AUDIENCE = "user";
const ROOM_AUDIENCE = "room";
const OPERATOR_AUDIENCE = "operator";
const USER_TOKEN_MS = 30 * 24 * 3600 * 1000;
/** How long a sign-in at a provider is kept: a person may stay in a session for longer than the token lasts. */
export const SIGN_IN_MS = 61 * 24 * 3600 * 1000;
export const OPERATOR_TOKEN_MS = 12 * 3600 * 1000;
export const ROOM_TOKEN_MS = 24 * 3600 * 1000;
/** Clocks of two machines may differ by this much. */
export const CLOCK_SKEW_MS = 60_000;
/** Real tokens have about 600 bytes. */
const MAX_TOKEN_CHARS = 8192;
const TOKEN_ID_CHARS = 24;

export function createTokens(deps: {
  keys: PurposeKeys;
  clock: Clock;
  store: Pick<Store, "get" | "put">;
}): Tokens {
  const { keys, clock } = deps;
  const revocations = createRevocations(deps);

  function sign(claims: JWTPayload, audience: string, lifetimeS: number): Promise<string> {
    const nowS = Math.floor(clock.wallMs() / 1000);
    return new SignJWT(claims)
      .setProtectedHeader({ alg: "HS256", typ: "JWT" })
      .setIssuer(ISSUER)
      .setAudience(audience)
      .setJti(randomAlphanumerics(TOKEN_ID_CHARS))
      .setIssuedAt(nowS)
      .setExpirationTime(nowS + lifetimeS)
      .sign(keys.signing);
  }

  async function verify(token: string, audience: string): Promise<JWTPayload | undefined> {
    if (token.length > MAX_TOKEN_CHARS) return undefined;
    for (const key of keys.accepted) {
      const payload = await verifyWith(key, token, audience);
      if (payload !== undefined) return payload;
    }
    return undefined;
  }

  async function verifyWith(
    key: Buffer,
    token: string,
    audience: string,
  ): Promise<JWTPayload | undefined> {
    try {
      const { payload } = await jwtVerify(token, key, {
        // Pinned: the token's header must not choose the algorithm (RFC 8725 §3.1).
        algorithms: ["HS256"],
        issuer: ISSUER,
        audience,
        // The callers check the expiry, by our clock: a room token may have expired.
        currentDate: new Date(0),
      });
      return payload;
    } catch (error) {
      if (error instanceof errors.JOSEError) return undefined;
      throw error;
    }
  }

  /** When the revocation of a token that expires at `expMs` can be forgotten. */
  function revokedUntilMs(expMs: number): number {
    return expMs + CLOCK_SKEW_MS;
  }

  /** The token itself, or the sign-in by which its user came. */
  async function isRevoked(
    tokenId: string,
    { signIn }: Pick<UserRecord, "signIn">,
    expMs: number,
  ): Promise<boolean> {
    const found = await Promise.all([
      revocations.isRevoked(tokenId, revokedUntilMs(expMs)),
      signIn !== undefined && revocations.isRevoked(signIn, clock.wallMs() + SIGN_IN_MS),
    ]);
    return found.includes(true);
  }

  function isExpired(expMs: number): boolean {
    return clock.wallMs() >= revokedUntilMs(expMs);
  }

  return {
    signUser: (user) => sign({ ...user }, USER_AUDIENCE, USER_TOKEN_MS / 1000),
    async verifyUser(token) {
      const claims = userClaims.safeParse(await verify(token, USER_AUDIENCE)).data;
      if (claims === undefined) return undefined;
      const { jti, exp, ...user } = claims;
      const expMs = exp * 1000;
      if (isExpired(expMs) || (await isRevoked(jti, user, expMs))) return undefined;
      return { user, tokenId: jti, expMs };
    },
    signRoom({ sessionId, clock, peerId, user, host }) {
      const claims = {
        room: sessionId,
        roomClock: clock,
        user,
        peer: peerId,
        ...(host && { host }),
      };
      return sign(claims, ROOM_AUDIENCE, ROOM_TOKEN_MS / 1000);
    },
    async verifyRoom(token) {
      const claims = roomClaims.safeParse(await verify(token, ROOM_AUDIENCE)).data;
      if (claims === undefined) return undefined;
      const expMs = claims.exp * 1000;
      if (await isRevoked(claims.jti, claims.user, expMs)) return undefined;
      return {
        sessionId: claims.room,
        clock: claims.roomClock,
        peerId: claims.peer,
        user: claims.user,
        host: claims.host ?? false,
        tokenId: claims.jti,
        expMs,
        expired: isExpired(expMs),
      };
    },
    signOperator: (claims) => sign({ ...claims }, OPERATOR_AUDIENCE, OPERATOR_TOKEN_MS / 1000),
    async verifyOperator(token) {
      const claims = operatorClaims.safeParse(await verify(token, OPERATOR_AUDIENCE)).data;
      if (claims === undefined) return undefined;
      const { jti, exp, ...operator } = claims;
      const expMs = exp * 1000;
      if (isExpired(expMs) || (await isRevoked(jti, operator, expMs))) return undefined;
      return { ...operator, untilMs: revokedUntilMs(expMs) };
    },
    revokeUser: ({ tokenId, expMs }) => revocations.revoke(tokenId, revokedUntilMs(expMs)),
    noteEnded: (signIn, untilMs) => revocations.note(signIn, untilMs),
    reassertRevoked: () => revocations.reassert(),
  };
}

// --- claims ---

const text = z.string().max(1024);
const userFields = {
  id: z.string().min(1).max(256),
  name: text.min(1),
  email: text.exactOptional(),
  authProvider: text.exactOptional(),
  signIn: z.string().min(1).max(64).exactOptional(),
};
const tokenFields = { jti: z.string().min(1).max(64), exp: z.number().int().nonnegative() };

const userClaims = z.object({ ...userFields, ...tokenFields });

const operatorClaims = z.object({
  id: userFields.id,
  name: userFields.name,
  role: z.enum(ROLES),
  provider: z.string().max(64),
  signIn: z.string().min(1).max(64),
  ...tokenFields,
});

const roomClaims = z.object({
  room: sessionIdSchema,
  roomClock: z.number().int().nonnegative(),
  // As `newPeerId` makes them.
  peer: peerIdSchema.refine((id) => /^[A-Za-z0-9]{24}$/.test(id)),
  user: z.object(userFields),
  host: z.boolean().exactOptional(),
  ...tokenFields,
});
