/** Room tokens as the balancer sees them: whether this edge has signed one. Workers verify everything else. */
import { timingSafeEqual } from "node:crypto";
import type { PurposeKeys } from "../../shared/settings/keyring.ts";
import { sign } from "../../shared/settings/secret.ts";
import type { RequestHead } from "../http1/head.ts";
import { findToken, readRoomClaim } from "../routing/session-key.ts";

/**
 * The signature of the room token in a request, which is unique to the token. Also of an expired one: a peer of an open session may
 * return with it.
 */
export function roomTokenSignature(
  values: RequestHead["values"],
  keys: Pick<PurposeKeys, "accepted">,
): string | undefined {
  const token = findToken(values, (one) => isRoomToken(one, keys));
  return token?.slice(token.lastIndexOf(".") + 1);
}

function isRoomToken(token: string, { accepted }: Pick<PurposeKeys, "accepted">): boolean {
  if (readRoomClaim(token) === undefined) return false;
  const last = token.lastIndexOf(".");
  const signature = Buffer.from(token.slice(last + 1));
  return accepted.some((key) => {
    const expected = Buffer.from(sign(key, token.slice(0, last)));
    return expected.length === signature.length && timingSafeEqual(expected, signature);
  });
}
