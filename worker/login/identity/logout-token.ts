/** Logout tokens, by which a provider says that a person has signed out (OpenID Connect Back-Channel Logout 1.0 §2.4, §2.6). */
import { createRemoteJWKSet, customFetch, errors, type JWTVerifyGetKey, jwtVerify } from "jose";
import type * as OpenId from "openid-client";
import { z } from "zod";
import { ProviderError } from "./provider-error.ts";

/** At least one of `subject` and `providerSession`. */
export interface LoggedOut {
  readonly issuer: string;
  readonly subject: string | undefined;
  readonly providerSession: string | undefined;
  /** Wall time in ms by the provider's clock; a sign-in that began later has nothing to do with it. */
  readonly atMs: number;
}

/** Resolves with what a token says. Rejects with `ProviderError`. */
export type VerifyLogout = (
  provider: { readonly issuer: string; readonly jwks_uri?: string | undefined },
  token: string,
) => Promise<LoggedOut>;

/** Signatures only: a key that both sides know would let the edge's own client secret sign (RFC 8725 §3.1). */
const ALGORITHMS = [
  ...["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
  ...["ES256", "ES384", "ES512", "EdDSA", "Ed25519"],
];
const EVENT = "http://schemas.openid.net/event/backchannel-logout";
const CLOCK_TOLERANCE_S = 60;
/** A provider sends it at once, and again for a while when it fails. */
const MAX_AGE_S = 600;
const MAX_TOKEN_CHARS = 16 * 1024;
const TIMEOUT_MS = 10_000;

const claimsSchema = z.object({
  iat: z.number(),
  sub: z.string().min(1).exactOptional(),
  sid: z.string().min(1).exactOptional(),
  events: z.record(z.string(), z.unknown()),
  nonce: z.undefined().optional(),
});

export function createLogoutVerifier(clientId: string, fetch: OpenId.CustomFetch): VerifyLogout {
  const keysByUrl = new Map<string, JWTVerifyGetKey>();

  function keysAt(url: string): JWTVerifyGetKey {
    const keys =
      keysByUrl.get(url) ??
      createRemoteJWKSet(new URL(url), {
        timeoutDuration: TIMEOUT_MS,
        [customFetch]: (address, { headers, ...init }) =>
          fetch(address, { ...init, headers: Object.fromEntries(headers), body: undefined }),
      });
    keysByUrl.set(url, keys);
    return keys;
  }

  return async ({ issuer, jwks_uri: url }, token) => {
    if (url === undefined) throw invalid("the provider has no keys");
    if (token.length > MAX_TOKEN_CHARS) throw invalid("it is too long");
    const { payload } = await jwtVerify(token, keysAt(url), {
      issuer,
      audience: clientId,
      algorithms: ALGORITHMS,
      clockTolerance: CLOCK_TOLERANCE_S,
      maxTokenAge: MAX_AGE_S,
    }).catch((error: unknown) => {
      if (error instanceof errors.JWKSTimeout) {
        throw new ProviderError("unreachable", "the provider's keys could not be read in time");
      }
      if (error instanceof errors.JOSEError) throw invalid(error.code);
      throw error;
    });
    const claims = claimsSchema.safeParse(payload).data;
    if (claims === undefined) throw invalid("its claims are not those of a logout token");
    const { iat, sub: subject, sid: providerSession, events } = claims;
    if (typeof events[EVENT] !== "object") throw invalid("it is for another event");
    if (subject === undefined && providerSession === undefined) {
      throw invalid("it names neither a person nor a session");
    }
    return { issuer, subject, providerSession, atMs: iat * 1000 };
  };
}

function invalid(reason: string): ProviderError {
  return new ProviderError("invalid", `the logout token is not valid: ${reason}`);
}
