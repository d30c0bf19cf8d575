/** The host of a session, and how many people may be in it. */
import type { UserRecord } from "../../shared/store/store.ts";
import type { Session } from "../sessions/session.ts";
import type { Access } from "./access.ts";

/** A host that has not come, or is gone for the moment, is known by its id only. */
export function hostOf(session: Pick<Session, "peers" | "userId">): UserRecord {
  return presentHost(session) ?? { id: session.userId, name: "" };
}

/** Undefined: it has not come, or is gone. */
export function presentHost(session: Pick<Session, "peers">): UserRecord | undefined {
  for (const { record } of session.peers) if (record.host) return record.user;
  return undefined;
}

/** In a session of `host`, who is one of them; undefined: as many as in any session. */
export async function maxPeople(
  access: Pick<Access, "limitsOf">,
  host: UserRecord,
): Promise<number | undefined> {
  const { guests } = await access.limitsOf(host);
  return guests === undefined ? undefined : guests + 1;
}
