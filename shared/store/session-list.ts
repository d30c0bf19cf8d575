/**
 * The sessions of the whole edge, for people who look at it.
 */
import type { SessionId, WorkerId } from "../ids.ts";
import type { MemberRecord } from "../membership/member.ts";
import type { SessionRecord, Store } from "./store.ts";

/** `restarted`: it lives, but has not taken the session up again. */
export type OwnerState = "lives" | "restarted" | "gone";

/** Ids of all sessions that have not been closed, each once, in the order of their owners. */
export async function sessionIds(
  store: Pick<Store, "owners" | "sessionsOf">,
): Promise<SessionId[]> {
  return [...(await sessionOwners(store)).keys()];
}

/** Who owns each session that has not been closed, in the order of the owners. */
export async function sessionOwners(
  store: Pick<Store, "owners" | "sessionsOf">,
): Promise<Map<SessionId, WorkerId>> {
  // A session that changes its owner meanwhile may be listed twice.
  const owners = new Map<SessionId, WorkerId>();
  for (const owner of [...(await store.owners())].sort()) {
    for (const id of await store.sessionsOf(owner)) owners.set(id, owner);
  }
  return owners;
}

/** How the owner of a session is, as far as its lease says. */
export function ownerStateOf(
  { owner, incarnation }: Pick<SessionRecord, "owner" | "incarnation">,
  members: readonly MemberRecord[],
): OwnerState {
  const member = members.find(({ id }) => id === owner);
  if (member === undefined) return "gone";
  return member.incarnation === incarnation ? "lives" : "restarted";
}
