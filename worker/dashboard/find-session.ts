/** Sessions by the part of their id that the dashboard lists. */
import type { FastifyRequest } from "fastify";
import type { SessionId } from "../../shared/base/ids.ts";
import { SHOWN_ID_CHARS } from "./describe.ts";
import type { Snapshots } from "./snapshot.ts";

/** The only session whose id starts with the path's `:id`. */
export async function sessionOf(
  request: FastifyRequest,
  snapshots: Snapshots,
): Promise<SessionId | undefined> {
  const { id } = request.params as { id: string };
  return findListed(id, snapshots);
}

export async function findListed(id: string, snapshots: Snapshots): Promise<SessionId | undefined> {
  const found = id.length >= SHOWN_ID_CHARS ? await snapshots.findSessions(id) : [];
  return found.length === 1 ? found[0] : undefined;
}
