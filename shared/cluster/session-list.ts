/**
 * The sessions of the whole edge, for people who look at it.
 */
import type { SessionId, WorkerId } from "../base/ids.ts";
import type { MemberRecord } from "../store/member.ts";
import type { SessionRecord, Store } from "../store/store.ts";

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

/** Sessions that are asked for at once: enough to hide the way to the store, too few to hold it up. */
const BATCH = 50;

/** The records of those that are still there. Each is as it was at one moment; they are asked one after the other. */
export async function readSessions(
  store: Pick<Store, "findSession">,
  ids: readonly SessionId[],
): Promise<SessionRecord[]> {
  const records: SessionRecord[] = [];
  for (let from = 0; from < ids.length; from += BATCH) {
    const batch = ids.slice(from, from + BATCH);
    const found = await Promise.all(batch.map((id) => store.findSession(id)));
    for (const record of found) if (record !== undefined) records.push(record);
  }
  return records;
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
