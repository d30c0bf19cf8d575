/** Finds the people whom an operator asks about: among those who are signed in, and in sessions. */
import { canonicalAddress } from "../net/networks.ts";
import { onlyUser, UnknownPersonError } from "../sign-ins/only-user.ts";
import { emailKey, findSignIns, nameKey, type SignIn, userKey } from "../sign-ins/sign-in.ts";
import type { SessionRecord, Store } from "../store/store.ts";
import type { NamedHost } from "./explain.ts";
import { personOf, type Told } from "./person.ts";
import type { Person } from "./policy.ts";

/**
 * `user`: an email address, a name or a user id of somebody who is signed in, `apikey:NAME`, `name:NAME` for somebody who signs in by
 * name, or any address. Rejects with `UnknownPersonError`, and with `StoreAwayError`.
 */
export async function findPerson(store: Pick<Store, "findSignIns">, user: string): Promise<Person> {
  if (/^(apikey|name):/.test(user)) return guessedPerson(user);
  const all = await findSignIns(store, [userKey(user), emailKey(user), nameKey(user)]);
  // Those to the dashboard are not asked about, and have no groups.
  const signIns = all.filter(({ role }) => role === undefined);
  if (signIns.length === 0 && user.includes("@")) return guessedPerson(user);
  const { id } = onlyUser(signIns, user);
  return signedIn(signIns.filter((one) => one.user.id === id));
}

/** By the newest sign-in. */
function signedIn(signIns: readonly SignIn[]): Person {
  const [newest] = [...signIns].sort((one, other) => other.begunMs - one.begunMs);
  if (newest === undefined) throw new Error("no sign-in");
  const { id, user } = newest;
  return personOf({ id: user.id, name: user.name, signIn: id }, undefined, toldOf(newest));
}

function toldOf({ user, groups }: SignIn): Told {
  return { email: user.email, groups: groups && new Set(groups) };
}

/** Somebody of whom nothing is known but this. */
export function guessedPerson(user: string): Person {
  const [, kind, name = ""] = /^(apikey|name):(.*)$/.exec(user) ?? [];
  if (kind === "apikey") return { id: "", apiKey: name, isVerified: true };
  if (kind === "name") return { id: "", isVerified: false };
  return user.includes("@")
    ? { id: "", email: user.toLowerCase(), isVerified: true }
    : { id: user, isVerified: true };
}

/** What an operator wants to try instead of what is known of a person. */
export interface Assumed {
  readonly groups?: readonly string[] | undefined;
  readonly address?: string | undefined;
}

export function assume(person: Person, { groups, address }: Assumed): Person {
  return {
    ...person,
    ...(groups !== undefined && { groups: new Set(groups) }),
    ...(address !== undefined && { address }),
  };
}

/** Names with commas between them; undefined: one of them is empty. */
export function parseGroups(text: string): readonly string[] | undefined {
  const groups = text.split(",").map((group) => group.trim());
  return groups.every((group) => group !== "") ? groups : undefined;
}

export function isAddress(text: string): boolean {
  return canonicalAddress(text) !== undefined;
}

/** Rejects with `UnknownPersonError`, and with `StoreAwayError`. */
export async function findHost(
  store: Pick<Store, "findSignIns">,
  { peers }: Pick<SessionRecord, "peers">,
): Promise<NamedHost> {
  const user = peers.find(({ host }) => host)?.user;
  if (user === undefined) throw new UnknownPersonError("its host has not come yet");
  const { signIn, name } = user;
  const found = signIn === undefined ? [] : await findSignIns(store, [userKey(user.id)]);
  const told = found.find(({ id }) => id === signIn);
  return { ...personOf(user, undefined, told && toldOf(told)), name };
}
