/** Cookies; above all the protocol's, for browser clients that do not keep a token themselves. Pure. */
import { readCookie } from "../../shared/net/cookies.ts";

const NAME = "oct-jwt";
/** `None`, because clients run in pages of other origins; browsers then require `Secure`. */
const ATTRIBUTES = "Path=/; HttpOnly; Secure; SameSite=None";
/** As in the protocol's own server; the token in it expires earlier. */
const MAX_AGE_S = 31_536_000;

export function tokenCookie(userToken: string): string {
  return `${NAME}=${userToken}; Max-Age=${MAX_AGE_S}; ${ATTRIBUTES}`;
}

/** Deletes the cookie. */
export const CLEARED_TOKEN_COOKIE = `${NAME}=; Max-Age=0; ${ATTRIBUTES}`;

/** The user token in a Cookie header, or undefined. */
export function readTokenCookie(header: string | undefined): string | undefined {
  return readCookie(header, NAME);
}

/** A cookie for pages of this server, until the browser ends. With the prefix, no other host can set it (RFC 6265bis §4.1.3.2). */
export function sessionCookie(plainName: string, isSecure: boolean) {
  const name = isSecure ? `__Host-${plainName}` : plainName;
  const attributes = `Path=/; HttpOnly; SameSite=Lax${isSecure ? "; Secure" : ""}`;
  return {
    name,
    set: (value: string) => `${name}=${value}; ${attributes}`,
    cleared: `${name}=; Max-Age=0; ${attributes}`,
  };
}
