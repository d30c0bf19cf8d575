/**
 * The one cookie of the protocol, for clients in browsers that keep no token themselves. Pure.
 */

/** Holds the user token. */
const NAME = "oct-jwt";
/** `None`, because clients live in pages of other origins; a browser then demands `Secure`. */
const ATTRIBUTES = "Path=/; HttpOnly; Secure; SameSite=None";
/** As in the protocol's own server; the token inside ends earlier. */
const MAX_AGE_S = 31_536_000;

export function tokenCookie(userToken: string): string {
  return `${NAME}=${userToken}; Max-Age=${MAX_AGE_S}; ${ATTRIBUTES}`;
}

/** Makes a browser forget the cookie. */
export const CLEARED_TOKEN_COOKIE = `${NAME}=; Max-Age=0; ${ATTRIBUTES}`;

/** The user token in a Cookie field (the first one), or undefined. */
export function readTokenCookie(field: string | undefined): string | undefined {
  if (field === undefined) return undefined;
  // By hand, pair by pair: splitting would make an array of thousands out of a hostile field.
  let start = 0;
  while (start < field.length) {
    let end = field.indexOf(";", start);
    if (end < 0) end = field.length;
    const pair = field.slice(start, end).trim();
    if (pair.startsWith(`${NAME}=`)) return pair.slice(NAME.length + 1);
    start = end + 1;
  }
  return undefined;
}
