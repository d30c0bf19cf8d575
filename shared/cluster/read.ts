/**
 * Reads the cluster from the store: its members, their status reports and the owners of all sessions. Every view of the
 * cluster (the commands of `ct-edge`, the dashboard) is made from what is read here.
 */
import type { Clock } from "../base/clock.ts";
import type { SessionId, WorkerId } from "../base/ids.ts";
import type { MemberRecord } from "../store/member.ts";
import type { Membership, SessionRecord, Store } from "../store/store.ts";
import { parseView, type View } from "./status-reports.ts";

interface MembersSnapshot {
  /** Store time, ms since the epoch. */
  readonly nowMs: number;
  readonly membership: Membership;
}

export interface ClusterSnapshot extends MembersSnapshot {
  /** Round trip of one request to the store. */
  readonly storeLatencyMs: number;
  /** The latest report of each process that has a lease. */
  readonly views: readonly PublishedView[];
  /** Of every session that is not closed, in the order of the owners. */
  readonly ownerById: ReadonlyMap<SessionId, WorkerId>;
}

export interface PublishedView {
  readonly id: string;
  /** Store time of the first read: the durations in the report count from then. */
  readonly seenMs: number;
  readonly view: View;
}

/** For views that need only the members. */
export async function readMembers(
  store: Pick<Store, "timeMs" | "members">,
): Promise<MembersSnapshot> {
  const [membership, nowMs] = await Promise.all([store.members(), store.timeMs()]);
  return { nowMs, membership };
}

/** The latest report of each of `members`, parsed. */
export async function readViews(
  store: Pick<Store, "list">,
  members: readonly Pick<MemberRecord, "id">[],
): Promise<readonly { readonly id: string; readonly view: View }[]> {
  const reports = await store.list("view");
  return members.flatMap(({ id }) => {
    const view = parseView(reports[id] ?? "");
    return view === undefined ? [] : { id, view };
  });
}

/**
 * Returns the reader, which rejects with `StoreAwayError`. It keeps parsed reports from one call to the next: a report may have
 * 64 KiB, and its age counts from its first read.
 */
export function clusterReader(deps: {
  readonly store: Pick<Store, "timeMs" | "members" | "list" | "owners" | "sessionsOf">;
  readonly clock: Pick<Clock, "nowMs">;
}): () => Promise<ClusterSnapshot> {
  const { store, clock } = deps;
  const parsedById = new Map<string, { text: string; published: PublishedView | undefined }>();

  function parseReports(reports: Readonly<Record<string, string>>, nowMs: number): PublishedView[] {
    for (const id of parsedById.keys()) if (reports[id] === undefined) parsedById.delete(id);
    for (const [id, text] of Object.entries(reports)) {
      if (parsedById.get(id)?.text === text) continue;
      const view = parseView(text);
      const published = view === undefined ? undefined : { id, seenMs: nowMs, view };
      parsedById.set(id, { text, published });
    }
    return [...parsedById.values()].flatMap(({ published }) => published ?? []);
  }

  return async () => {
    const sentMs = clock.nowMs();
    const nowMs = await store.timeMs();
    const storeLatencyMs = clock.nowMs() - sentMs;
    const [membership, reports, ownerById] = await Promise.all([
      store.members(),
      store.list("view"),
      sessionOwners(store),
    ]);
    const live = new Set<string>(membership.members.map(({ id }) => id));
    // The last report of a process that has ended stays in the store for a while.
    const views = parseReports(reports, nowMs).filter(({ id }) => live.has(id));
    return { nowMs, storeLatencyMs, membership, views, ownerById };
  };
}

// --- sessions ---

/** Ids of all sessions that have not been closed, each once, in the order of their owners. */
export async function sessionIds(
  store: Pick<Store, "owners" | "sessionsOf">,
): Promise<SessionId[]> {
  return [...(await sessionOwners(store)).keys()];
}

async function sessionOwners(
  store: Pick<Store, "owners" | "sessionsOf">,
): Promise<Map<SessionId, WorkerId>> {
  // A session that changes its owner during the read may be listed by both; the map keeps one.
  const owners = new Map<SessionId, WorkerId>();
  for (const owner of [...(await store.owners())].sort()) {
    for (const id of await store.sessionsOf(owner)) owners.set(id, owner);
  }
  return owners;
}

/** Records requested at a time: enough to hide the round trip to the store, too few to hold it up. */
const BATCH = 50;

/** The records that still exist, batch by batch. Each is consistent in itself; they are not read at the same moment. */
export async function* readSessionBatches(
  store: Pick<Store, "findSession">,
  ids: readonly SessionId[],
): AsyncGenerator<SessionRecord[], void> {
  for (let from = 0; from < ids.length; from += BATCH) {
    const batch = ids.slice(from, from + BATCH);
    const records = await Promise.all(batch.map((id) => store.findSession(id)));
    yield records.filter((record) => record !== undefined);
  }
}

/** All batches of `readSessionBatches`. */
export async function readSessions(
  store: Pick<Store, "findSession">,
  ids: readonly SessionId[],
): Promise<SessionRecord[]> {
  const all: SessionRecord[] = [];
  for await (const records of readSessionBatches(store, ids)) all.push(...records);
  return all;
}
