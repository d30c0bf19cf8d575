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

/**
 * As whom somebody's sessions are counted for a limit of the policy. Programs are another user each time they sign in, so those with
 * one API key are counted together. A typed name is nobody's own: anyone could use up the sessions of others, and escape by another.
 */
export function countedAs({ id, name, authProvider, signIn }: UserRecord): string {
  const isProgram = signIn === undefined && authProvider === API_KEY_PROVIDER;
  return isProgram ? `${API_KEY_PROVIDER} ${name}` : id;
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
