/**
 * All that the dashboard shows of the edge, read from the store in one go and shared by everybody who looks: however many
 * pages are open, the store is asked once in two seconds.
 */
import type { Clock } from "../../shared/clock.ts";
import type { SessionId } from "../../shared/ids.ts";
import type { Series } from "../../shared/metrics.ts";
import { sessionIds } from "../../shared/store/session-list.ts";
import {
  type Membership,
  type SessionRecord,
  type Store,
  StoreAwayError,
} from "../../shared/store/store.ts";
import { parseView, type View } from "../../shared/views.ts";

export interface Snapshot {
  /** Store time; while the store is away, the time of the last answer. */
  readonly nowMs: number;
  /** How long the store took to tell its time; undefined: it did not. */
  readonly storeLatencyMs: number | undefined;
  readonly membership: Membership;
  readonly viewById: ReadonlyMap<string, View>;
  /** Numbers of the whole cluster; empty when they are not known. */
  readonly cluster: readonly Series[];
  /** The newest sessions that are not closed, at most `MAX_SESSIONS`. */
  readonly sessions: readonly SessionRecord[];
  readonly sessionCount: number;
}

export interface Snapshots {
  /** The newest one, at most 2 s old. With the store away, what was known last. */
  read(): Promise<Snapshot>;
  /** Ids of all sessions that begin with `prefix`. Rejects with `StoreAwayError`. */
  findSessions(prefix: string): Promise<readonly SessionId[]>;
}

const FRESH_MS = 2000;
/** Sessions that are listed: a page with more is of no use to people. */
const MAX_SESSIONS = 1000;
/** Records that are asked for at once: enough to hide the way to the store, too few to hold it up. */
const BATCH = 50;
/** A record is read again when its session is this old news to us; what is in it changes seldom. */
const RECORD_MS = 10_000;

const NOTHING: Snapshot = {
  nowMs: 0,
  storeLatencyMs: undefined,
  membership: { members: [], ignored: 0, booted: false },
  viewById: new Map(),
  cluster: [],
  sessions: [],
  sessionCount: 0,
};

export function createSnapshots(needs: {
  readonly store: Pick<
    Store,
    "timeMs" | "members" | "readReports" | "owners" | "sessionsOf" | "findSession"
  >;
  readonly clock: Clock;
  readonly cluster: () => Promise<readonly Series[]>;
}): Snapshots {
  const { store, clock } = needs;
  const recordById = new Map<SessionId, { record: SessionRecord; readMs: number }>();
  let last = NOTHING;
  let reading: Promise<Snapshot> | undefined;
  let readMs = Number.NEGATIVE_INFINITY;

  async function readAll(): Promise<Snapshot> {
    const sentMs = clock.nowMs();
    const nowMs = await store.timeMs();
    const storeLatencyMs = clock.nowMs() - sentMs;
    const [membership, reports, cluster, ids] = await Promise.all([
      store.members(),
      store.readReports("view"),
      needs.cluster(),
      sessionIds(store),
    ]);
    const views = Object.entries(reports).flatMap(([id, text]) => {
      const view = parseView(text);
      return view === undefined ? [] : [[id, view] as const];
    });
    return {
      nowMs,
      storeLatencyMs,
      membership,
      viewById: new Map(views),
      cluster,
      sessions: await readRecords(ids),
      sessionCount: ids.length,
    };
  }

  async function readRecords(ids: readonly SessionId[]): Promise<SessionRecord[]> {
    const wanted = ids.slice(-MAX_SESSIONS);
    const now = clock.nowMs();
    const stale = wanted.filter(
      (id) => (recordById.get(id)?.readMs ?? -RECORD_MS) <= now - RECORD_MS,
    );
    for (let from = 0; from < stale.length; from += BATCH) {
      const batch = stale.slice(from, from + BATCH);
      const records = await Promise.all(batch.map((id) => store.findSession(id)));
      for (const record of records) {
        if (record !== undefined) recordById.set(record.id, { record, readMs: now });
      }
    }
    const known = new Set(wanted);
    for (const id of recordById.keys()) if (!known.has(id)) recordById.delete(id);
    return wanted
      .flatMap((id) => recordById.get(id)?.record ?? [])
      .filter(({ state }) => state !== "closed")
      .sort((a, b) => b.createdMs - a.createdMs);
  }

  return {
    async read() {
      if (clock.nowMs() - readMs < FRESH_MS) return last;
      reading ??= readAll().finally(() => {
        reading = undefined;
      });
      try {
        last = await reading;
      } catch (error) {
        if (!(error instanceof StoreAwayError)) throw error;
        last = { ...last, storeLatencyMs: undefined, cluster: [] };
      }
      readMs = clock.nowMs();
      return last;
    },
    async findSessions(prefix) {
      return (await sessionIds(store)).filter((id) => id.startsWith(prefix));
    },
  };
}
