/** Who somebody is, by the claims of an identity provider. Pure. */
import { createHash } from "node:crypto";
import type { IdentityProvider } from "../../../shared/settings/identity-providers.ts";
import type { UserRecord } from "../../../shared/store/store.ts";
import { isEmail, readName } from "../display-name.ts";

/** What a provider says of a person: untrusted, and as large as a response may be. */
export type Claims = Readonly<Record<string, unknown>>;

export type Identity =
  | { readonly outcome: "accepted"; readonly user: UserRecord; readonly subject: string }
  /** `message` is shown to the person, `reason` is logged and counted. */
  | { readonly outcome: "refused"; readonly reason: string; readonly message: string };

/** Beyond it a claim is no list of groups. */
const MAX_GROUPS = 10_000;
const MAX_SUBJECT_CHARS = 1024;
const USER_ID_CHARS = 32;

/** The user that `claims` describe, if that user may come in. `issuer`: whose subjects these are. */
export function readIdentity(provider: IdentityProvider, issuer: string, claims: Claims): Identity {
  const person = readPerson(provider, issuer, claims);
  return person.outcome === "refused" ? person : (problemOfGroups(provider, claims) ?? person);
}

/** The same, whatever the person's groups. */
export function readPerson(provider: IdentityProvider, issuer: string, claims: Claims): Identity {
  const subject = readSubject(claimAt(claims, provider.claims.subject));
  if (subject === undefined) {
    return refused(
      "subject",
      `${provider.label} did not say who you are. Contact your administrator.`,
    );
  }
  const name = provider.claims.name
    .map((path) => claimAt(claims, path))
    .map((value) => (typeof value === "string" ? readName(value) : undefined))
    .find((value) => value !== undefined);
  if (name === undefined) {
    return refused(
      "name",
      `${provider.label} did not send a name that can be shown. Enter one in your profile there, or contact your administrator.`,
    );
  }
  const email = readEmail(provider, claims);
  const user = { id: userIdOf(issuer, subject), name, authProvider: provider.label };
  return { outcome: "accepted", user: email === undefined ? user : { ...user, email }, subject };
}

/** The same for every sign-in of one person, and no other person has it. */
export function userIdOf(issuer: string, subject: string): string {
  return createHash("sha256").update(`${issuer}\n${subject}`).digest("hex").slice(0, USER_ID_CHARS);
}

/** GitHub has numbers. */
function readSubject(value: unknown): string | undefined {
  if (typeof value === "number" && Number.isSafeInteger(value)) return String(value);
  const isText = typeof value === "string" && value !== "" && value.length <= MAX_SUBJECT_CHARS;
  return isText ? value : undefined;
}

/** An address counts as somebody's only if the provider has checked it, or its administrators have given it. */
function readEmail({ claims: names, email }: IdentityProvider, claims: Claims): string | undefined {
  const value = claimAt(claims, names.email);
  // Some providers send the flag as a text.
  const flag = claims["email_verified"];
  const isVerified = email === "always" || flag === true || flag === "true";
  return isVerified && typeof value === "string" && isEmail(value) ? value : undefined;
}

function problemOfGroups(provider: IdentityProvider, claims: Claims): Identity | undefined {
  if (provider.groups.length === 0) return undefined;
  const groups = groupsOf(provider, claims);
  if (groups === undefined) return noGroups(provider);
  if (provider.groups.some((group) => groups.has(group))) return undefined;
  return refused(
    "groups",
    "You are signed in, but not in a group that may use this server. Contact your administrator.",
  );
}

/** Undefined: the provider did not send them. */
export function groupsOf(
  provider: IdentityProvider,
  claims: Claims,
): ReadonlySet<string> | undefined {
  return readGroups(claimAt(claims, provider.claims.groups));
}

export function noGroups({ label }: IdentityProvider): Extract<Identity, { outcome: "refused" }> {
  return refused(
    "no groups",
    `${label} did not send your groups, so it is unknown whether you may use this server. Contact your administrator.`,
  );
}

/** A list of names, of objects with a name, or a single name; undefined when it is none of them. */
function readGroups(value: unknown): ReadonlySet<string> | undefined {
  if (typeof value === "string") return new Set([value]);
  if (!Array.isArray(value) || value.length > MAX_GROUPS) return undefined;
  return new Set(
    value.flatMap((group: unknown) => {
      if (typeof group === "string") return group;
      const name = isRecord(group) ? group["name"] : undefined;
      return typeof name === "string" ? name : [];
    }),
  );
}

/** A claim by its name, which may have dots, else by the path that they separate. */
export function claimAt(claims: Claims, path: string): unknown {
  if (Object.hasOwn(claims, path)) return claims[path];
  let value: unknown = claims;
  for (const part of path.split(".")) {
    if (!isRecord(value) || !Object.hasOwn(value, part)) return undefined;
    value = value[part];
  }
  return value;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function refused(reason: string, message: string): Extract<Identity, { outcome: "refused" }> {
  return { outcome: "refused", reason, message };
}
