/**
 * Everything that the dashboard shows about the edge, read from the store at once and shared by all open pages: however many
 * there are, the store is read once in two seconds, and session records only while a page shows them.
 */
import type { Clock } from "../../shared/base/clock.ts";
import type { SessionId } from "../../shared/base/ids.ts";
import { oneFlight } from "../../shared/base/one-flight.ts";
import {
  type ClusterSnapshot,
  clusterReader,
  readSessionBatches,
  sessionIds,
} from "../../shared/cluster/read.ts";
import type { Series } from "../../shared/metrics/metrics.ts";
import type { SessionRecord, Store } from "../../shared/store/store.ts";
import { unlessAway } from "../../shared/store/unless-away.ts";

export interface Snapshot extends Omit<ClusterSnapshot, "nowMs" | "storeLatencyMs"> {
  /** Store time; during an outage, that of the last successful read. Undefined before the first one. */
  readonly nowMs: number | undefined;
  /** Whether the last read succeeded; otherwise this is older data. */
  readonly isCurrent: boolean;
  /** How long a request to the store took; undefined if it failed. */
  readonly storeLatencyMs: number | undefined;
  /** Numbers of the whole cluster; empty when they are not known. */
  readonly cluster: readonly Series[];
}

export type Snapshots = ReturnType<typeof createSnapshots>;

const FRESH_MS = 2000;
/** A longer list is of no use to people. */
const MAX_SESSIONS = 1000;
/** The store notifies about changed records; because notifications may be lost, each record is also read again after this. */
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

export function createSnapshots(deps: {
  readonly store: Pick<
    Store,
    "timeMs" | "members" | "list" | "owners" | "sessionsOf" | "findSession" | "onChange"
  >;
  readonly clock: Clock;
  readonly cluster: () => Promise<readonly Series[]>;
}) {
  const { store, clock } = deps;
  const recordById = new Map<SessionId, { record: SessionRecord; readMs: number }>();
  const readCluster = clusterReader({ store, clock });
  let last = NOTHING;
  let readMs = Number.NEGATIVE_INFINITY;
  const stop = store.onChange((change) => {
    if (change.subject === "session") recordById.delete(change.sessionId);
  });

  const readAll = oneFlight(async () => {
    const [snapshot, cluster] = await Promise.all([readCluster(), deps.cluster()]);
    return { ...snapshot, isCurrent: true, cluster };
  });

  /** The newest snapshot, at most 2 s old; during a store outage, the last one. */
  async function read(): Promise<Snapshot> {
    if (clock.nowMs() - readMs < FRESH_MS) return last;
    const read = await unlessAway(readAll());
    last = read ?? { ...last, isCurrent: false, storeLatencyMs: undefined, cluster: [] };
    readMs = clock.nowMs();
    return last;
  }

  async function readStale(stale: readonly SessionId[]): Promise<void> {
    let askedMs = clock.nowMs();
    for await (const records of readSessionBatches(store, stale)) {
      for (const record of records) recordById.set(record.id, { record, readMs: askedMs });
      askedMs = clock.nowMs();
    }
  }

  return {
    read,
    /** Session records of the newest snapshot, at most `MAX_SESSIONS`, newest first. */
    async readSessions(): Promise<readonly SessionRecord[]> {
      const { ownerById } = await read();
      const ids = [...ownerById.keys()].slice(0, MAX_SESSIONS);
      const now = clock.nowMs();
      const isStale = (id: SessionId): boolean =>
        (recordById.get(id)?.readMs ?? Number.NEGATIVE_INFINITY) <= now - RECORD_MS;
      // While it is away, records from earlier reads are shown.
      await unlessAway(readStale(ids.filter(isStale)));
      for (const id of recordById.keys()) if (!ownerById.has(id)) recordById.delete(id);
      return ids
        .flatMap((id) => recordById.get(id)?.record ?? [])
        .filter(({ state }) => state !== "closed")
        .sort((a, b) => b.createdMs - a.createdMs);
    },
    /** All session ids that start with `prefix`. Rejects with `StoreAwayError`. */
    async findSessions(prefix: string): Promise<readonly SessionId[]> {
      return (await sessionIds(store)).filter((id) => id.startsWith(prefix));
    },
    close: stop,
  };
}
