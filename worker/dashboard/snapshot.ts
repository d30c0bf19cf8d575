/**
 * All that the dashboard shows of the edge, read from the store in one go and shared by everybody who looks: however many
 * pages are open, the store is asked once in two seconds, and for the records of sessions only while somebody looks at them.
 */
import type { Clock } from "../../shared/base/clock.ts";
import type { SessionId, WorkerId } from "../../shared/base/ids.ts";
import { sessionIds, sessionOwners } from "../../shared/cluster/session-list.ts";
import { parseView, type View } from "../../shared/cluster/status-reports.ts";
import type { Series } from "../../shared/metrics/metrics.ts";
import {
  type Membership,
  type SessionRecord,
  type Store,
  StoreAwayError,
} from "../../shared/store/store.ts";

export interface Snapshot {
  /** Store time; while the store is away, the time of the last answer. Undefined: it has never answered. */
  readonly nowMs: number | undefined;
  /** Whether the store answered when it was asked last: else all of this is what was true before. */
  readonly isCurrent: boolean;
  /** How long the store took to tell its time; undefined: it did not. */
  readonly storeLatencyMs: number | undefined;
  readonly membership: Membership;
  /** What each process says of itself and of others. */
  readonly views: readonly PublishedView[];
  /** Numbers of the whole cluster; empty when they are not known. */
  readonly cluster: readonly Series[];
  /** Of every session that is not closed. */
  readonly ownerById: ReadonlyMap<SessionId, WorkerId>;
}

export interface PublishedView {
  readonly id: string;
  /** Store time when it was first seen here: its durations end then. */
  readonly seenMs: number;
  readonly view: View;
}

export interface Snapshots {
  /** The newest one, at most 2 s old. With the store away, what was known last. */
  read(): Promise<Snapshot>;
  /** Records of the sessions of the newest snapshot, at most `MAX_SESSIONS`, the newest first. */
  readSessions(): Promise<readonly SessionRecord[]>;
  /** Ids of all sessions that begin with `prefix`. Rejects with `StoreAwayError`. */
  findSessions(prefix: string): Promise<readonly SessionId[]>;
  close(): void;
}

const FRESH_MS = 2000;
/** Sessions that are listed: a page with more is of no use to people. */
const MAX_SESSIONS = 1000;
/** Records that are asked for at once: enough to hide the way to the store, too few to hold it up. */
const BATCH = 50;
/**
 * The store hints at what changes in a record; hints may be missed, so each is read again after this. Rarely: there
 * may be a thousand of them.
 */
const RECORD_MS = 120_000;

const NOTHING: Snapshot = {
  nowMs: undefined,
  isCurrent: false,
  storeLatencyMs: undefined,
  membership: { members: [], ignored: 0, booted: false },
  views: [],
  cluster: [],
  ownerById: new Map(),
};

export function createSnapshots(needs: {
  readonly store: Pick<
    Store,
    "timeMs" | "members" | "readReports" | "owners" | "sessionsOf" | "findSession" | "onChange"
  >;
  readonly clock: Clock;
  readonly cluster: () => Promise<readonly Series[]>;
}): Snapshots {
  const { store, clock } = needs;
  const recordById = new Map<SessionId, { record: SessionRecord; readMs: number }>();
  const toldById = new Map<string, { text: string; told: PublishedView | undefined }>();
  let last = NOTHING;
  let reading: Promise<Snapshot> | undefined;
  let readMs = Number.NEGATIVE_INFINITY;
  const stop = store.onChange((change) => {
    if (change.subject === "session") recordById.delete(change.sessionId);
  });

  async function readAll(): Promise<Snapshot> {
    const sentMs = clock.nowMs();
    const nowMs = await store.timeMs();
    const storeLatencyMs = clock.nowMs() - sentMs;
    const [membership, reports, cluster, ownerById] = await Promise.all([
      store.members(),
      store.readReports("view"),
      needs.cluster(),
      sessionOwners(store),
    ]);
    const live = new Set<string>(membership.members.map(({ id }) => id));
    // A process that has ended leaves its last words in the store for a while.
    const views = readViews(reports, nowMs).filter(({ id }) => live.has(id));
    return { nowMs, isCurrent: true, storeLatencyMs, membership, views, cluster, ownerById };
  }

  /** A view that was told once is read once: its durations count from then, and it may be large. */
  function readViews(reports: Readonly<Record<string, string>>, nowMs: number): PublishedView[] {
    for (const id of toldById.keys()) if (reports[id] === undefined) toldById.delete(id);
    for (const [id, text] of Object.entries(reports)) {
      if (toldById.get(id)?.text === text) continue;
      const view = parseView(text);
      const told = view === undefined ? undefined : { id, seenMs: nowMs, view };
      toldById.set(id, { text, told });
    }
    return [...toldById.values()].flatMap(({ told }) => told ?? []);
  }

  async function read(): Promise<Snapshot> {
    if (clock.nowMs() - readMs < FRESH_MS) return last;
    reading ??= readAll().finally(() => {
      reading = undefined;
    });
    try {
      last = await reading;
    } catch (error) {
      if (!(error instanceof StoreAwayError)) throw error;
      last = { ...last, isCurrent: false, storeLatencyMs: undefined, cluster: [] };
    }
    readMs = clock.nowMs();
    return last;
  }

  async function readStale(stale: readonly SessionId[]): Promise<void> {
    for (let from = 0; from < stale.length; from += BATCH) {
      const askedMs = clock.nowMs();
      const batch = stale.slice(from, from + BATCH);
      const records = await Promise.all(batch.map((id) => store.findSession(id)));
      for (const record of records) {
        if (record !== undefined) recordById.set(record.id, { record, readMs: askedMs });
      }
    }
  }

  return {
    read,
    async readSessions() {
      const { ownerById } = await read();
      const ids = [...ownerById.keys()].slice(0, MAX_SESSIONS);
      const now = clock.nowMs();
      const isStale = (id: SessionId): boolean =>
        (recordById.get(id)?.readMs ?? Number.NEGATIVE_INFINITY) <= now - RECORD_MS;
      try {
        await readStale(ids.filter(isStale));
      } catch (error) {
        // Those that were read before are shown.
        if (!(error instanceof StoreAwayError)) throw error;
      }
      for (const id of recordById.keys()) if (!ownerById.has(id)) recordById.delete(id);
      return ids
        .flatMap((id) => recordById.get(id)?.record ?? [])
        .filter(({ state }) => state !== "closed")
        .sort((a, b) => b.createdMs - a.createdMs);
    },
    async findSessions(prefix) {
      return (await sessionIds(store)).filter((id) => id.startsWith(prefix));
    },
    close: stop,
  };
}
