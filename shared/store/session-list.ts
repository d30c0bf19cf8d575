/**
 * The sessions of the whole edge, for people who look at it.
 */
import type { SessionId } from "../ids.ts";
import type { MemberRecord } from "../membership/member.ts";
import type { SessionRecord, Store } from "./store.ts";

/** `restarted`: it lives, but has not taken the session up again. */
export type OwnerState = "lives" | "restarted" | "gone";

/** Ids of all sessions that have not been closed, each once, in the order of their owners. */
export async function sessionIds(
  store: Pick<Store, "owners" | "sessionsOf">,
): Promise<SessionId[]> {
  // A session that changes its owner meanwhile may be listed twice.
  const ids = new Set<SessionId>();
  for (const owner of [...(await store.owners())].sort()) {
    for (const id of await store.sessionsOf(owner)) ids.add(id);
  }
  return [...ids];
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
