/** What a policy may go by, of a user. Pure. */
import { API_KEY_PROVIDER, type UserRecord } from "../store/user-record.ts";
import type { Person } from "./policy.ts";

/** What an identity provider has told of somebody, as it did last. */
export interface Told {
  /** Verified. */
  readonly email: string | undefined;
  /** Undefined: it does not send them. */
  readonly groups: ReadonlySet<string> | undefined;
}

/** An email address that somebody has typed counts as none. */
export function personOf(
  { id, name, authProvider, signIn }: UserRecord,
  address: string | undefined,
  told: Told | undefined,
): Person {
  if (signIn !== undefined) return { id, address, ...told, isVerified: true };
  return authProvider === API_KEY_PROVIDER
    ? { id, address, apiKey: name, isVerified: true }
    : { id, address, isVerified: false };
}
