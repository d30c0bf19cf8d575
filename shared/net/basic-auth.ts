/** Reads Basic credentials (RFC 7617). Pure. */

export interface BasicCredentials {
  readonly user: Buffer;
  readonly password: Buffer;
}

/**
 * Those in the header Authorization; undefined if there are none. The first colon ends the user name. `colonsInUser`: colons to skip
 * before that one.
 */
export function readBasic(authorization: string, colonsInUser = 0): BasicCredentials | undefined {
  const [, encoded] = /^basic +([A-Za-z0-9+/_-]+={0,2}) *$/i.exec(authorization) ?? [];
  if (encoded === undefined) return undefined;
  const bytes = Buffer.from(encoded, "base64");
  let colon = bytes.indexOf(":");
  for (let left = colonsInUser; left > 0 && colon >= 0; left--)
    colon = bytes.indexOf(":", colon + 1);
  if (colon < 0) return undefined;
  return { user: bytes.subarray(0, colon), password: bytes.subarray(colon + 1) };
}

/** The user name that a request claims, as latin1, for a log: also of credentials that are malformed. Empty: none. */
export function claimedUser(authorization: string): string {
  if (!/^basic /i.test(authorization)) return "";
  const decoded = Buffer.from(authorization.slice(6), "base64").toString("latin1");
  return decoded.slice(0, Math.max(0, decoded.indexOf(":")));
}
