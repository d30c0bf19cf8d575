/**
 * The members as this process sees them: read from the store every second and at once after a hint, reconciled with the last
 * snapshot (reconcile.ts), turned into a ring, and swapped in as a whole. While the store is away the last snapshot counts.
 */
import type { Clock } from "../base/clock.ts";
import type { Incarnation, WorkerId } from "../base/ids.ts";
import { createListeners } from "../base/listeners.ts";
import { coalesced } from "../base/one-flight.ts";
import { type PeriodicTask, startPeriodicTask } from "../base/periodic-task.ts";
import { type WorkerTag, workerTag } from "../base/worker-tag.ts";
import type { Log } from "../logs/log.ts";
import type { BalancerRecord, MemberRecord, WorkerRecord } from "../store/member.ts";
import type { Deferring, Membership, Store } from "../store/store.ts";
import { reportUnlessAway } from "../store/unless-away.ts";
import type { MemberVerification } from "./member-verification.ts";
import { type Members, reconcile } from "./reconcile.ts";
import { createRing, type Ring } from "./ring.ts";

/**
 * Hints may be missed; while the store is up, a snapshot is about a second old at most. A little shorter than `HEARTBEAT_MS`,
 * so that each heartbeat of this process takes a deferred read along.
 */
const POLL_PERIOD_MS = 900;
/** How long fingerprints may differ after a change of the members: a poll and a heartbeat each, and some delay. */
const FINGERPRINT_PATIENCE_MS = 5000;

export interface MembershipView {
  /** Reads the first snapshot. Resolves also when the store is away, and keeps trying. */
  start(): Promise<void>;
  close(): void;
  /** In name order. Immutable: a changed snapshot has a new array. */
  readonly workers: readonly WorkerRecord[];
  readonly balancers: readonly BalancerRecord[];
  /** Of all workers, in any state. */
  readonly ring: Ring;
  /** Whether a snapshot has been read from the store. */
  readonly fresh: boolean;
  /** Whether the last read found all members: not while the store is new or was emptied (`Membership.booted`). */
  readonly settled: boolean;
  /** Uses workers that a previous incarnation of this process saved, until the first snapshot is read. */
  recall(workers: readonly WorkerRecord[]): void;
  /**
   * A worker has proved a newer incarnation than its record has, while the store is away. Counts until the next snapshot;
   * the worker is treated as just started.
   */
  hear(id: WorkerId, incarnation: Incarnation): void;
  /**
   * Members that a worker has read from the store, while this process cannot. They count until the next snapshot; members
   * missing among them stay.
   */
  hearMembers(workers: readonly WorkerRecord[]): void;
  worker(id: WorkerId): WorkerRecord | undefined;
  byTag(tag: WorkerTag): WorkerRecord | undefined;
  /** Calls `listener` after each changed snapshot. Returns the function that unsubscribes. */
  onChange(listener: () => void): () => void;
}

export function createMembershipView(deps: {
  readonly store: Pick<Store, "members" | "onChange" | "onHealth"> & Deferring<"members">;
  readonly clock: Clock;
  readonly log: Log;
  /** The ring's key while these are the members; see `Keyring.ringKeyFor`. */
  readonly ringKeyFor: (members: readonly MemberRecord[]) => Buffer;
  /** Verifies members; by default all are accepted. */
  readonly admission?: Pick<MemberVerification, "admit">;
}): MembershipView {
  const { store, clock, log } = deps;
  const listeners = createListeners<[]>((err) => log.error({ err }, "membership listener failed"));
  let snapshot = takeSnapshot({ workers: [], balancers: [] });
  let ringKey = deps.ringKeyFor([]);
  let ring = createRing([], ringKey);
  let fresh = false;
  let settled = false;
  let isClosed = false;
  /** Reads begun at once, by which a poll sees that it is out of date. */
  let reads = 0;
  let isReading = false;
  let polls: PeriodicTask | undefined;
  const stops: (() => void)[] = [];
  const fingerprints = createFingerprintWatch(clock, log);

  const read = coalesced(async () => {
    if (isClosed) return;
    reads++;
    isReading = true;
    await readFrom(store, () => true);
    isReading = false;
  });

  /** A hint does not wait for it. */
  async function poll(): Promise<void> {
    if (isReading) return;
    const before = reads;
    await readFrom(store.deferred, () => reads === before);
  }

  /** Never rejects. `isWanted` is asked when the members are read. */
  async function readFrom(from: Pick<Store, "members">, isWanted: () => boolean): Promise<void> {
    try {
      const seen = await from.members();
      if (isClosed || !isWanted()) return;
      accept({ ...seen, members: deps.admission?.admit(seen.members) ?? seen.members });
    } catch (error) {
      // The last snapshot counts.
      reportUnlessAway(log, "cannot read the members")(error);
    }
  }

  function accept(seen: Membership): void {
    const wasFresh = fresh;
    fresh = true;
    settled = seen.booted;
    swap(takeSnapshot(reconcile(snapshot, seen), snapshot), !wasFresh);
    // While the store settles, the snapshot may hold members that are gone, with old fingerprints.
    if (seen.booted) fingerprints.check(ring.fingerprint, snapshot);
  }

  function swap(next: Snapshot, isFirst: boolean): void {
    const before = snapshot;
    if (next.text === before.text && !isFirst) return;
    snapshot = next;
    const key = deps.ringKeyFor([...next.workers, ...next.balancers]);
    if (next.ringText !== before.ringText || !key.equals(ringKey)) {
      ringKey = key;
      ring = createRing(next.workers, ringKey);
      log.info({ workers: next.workers.length, ring: ring.fingerprint }, "ring changed");
    }
    listeners.notify();
  }

  /** For hints; `readFrom` reports its failures itself. */
  const readUnwatched = (): void => void read();

  return {
    async start() {
      if (polls !== undefined || isClosed) return;
      stops.push(
        store.onChange((change) => {
          if (change.subject === "members") readUnwatched();
        }),
        store.onHealth((health) => {
          if (health.state === "up") readUnwatched();
        }),
      );
      polls = startPeriodicTask({ clock, periodMs: POLL_PERIOD_MS, work: poll });
      await read();
    },
    close() {
      isClosed = true;
      polls?.close();
      for (const stop of stops) stop();
      listeners.clear();
    },
    get workers() {
      return snapshot.workers;
    },
    get balancers() {
      return snapshot.balancers;
    },
    get ring() {
      return ring;
    },
    get fresh() {
      return fresh;
    },
    get settled() {
      return settled;
    },
    recall(workers) {
      if (!fresh) swap(takeSnapshot({ workers, balancers: [] }), false);
    },
    hear(id, incarnation) {
      if (snapshot.byId.get(id)?.incarnation === incarnation) return;
      log.warn({ workerId: id }, "a worker restarted while the store is unavailable");
      swap(takeSnapshot(withRestarted(snapshot, id, incarnation)), false);
    },
    hearMembers(workers) {
      logFound(snapshot, workers, log);
      swap(takeSnapshot(reconcile(snapshot, { members: workers, booted: false }), snapshot), false);
    },
    worker: (id) => snapshot.byId.get(id),
    byTag: (tag) => snapshot.byTag.get(tag),
    onChange: listeners.add,
  };
}

// --- snapshots: values in, values out ---

interface Snapshot extends Members {
  readonly byId: ReadonlyMap<WorkerId, WorkerRecord>;
  readonly byTag: ReadonlyMap<WorkerTag, WorkerRecord>;
  /** All of it, to detect changes; and the part that the ring depends on. */
  readonly text: string;
  readonly ringText: string;
}

/** Returns `before` when nothing has changed, as in most polls, to save computing the tags. */
function takeSnapshot({ workers, balancers }: Members, before?: Snapshot): Snapshot {
  const sortedWorkers = [...workers].sort(byName);
  const sortedBalancers = [...balancers].sort(byName);
  const text = JSON.stringify([sortedWorkers, sortedBalancers]);
  if (text === before?.text) return before;
  return {
    workers: sortedWorkers,
    balancers: sortedBalancers,
    byId: new Map(sortedWorkers.map((worker) => [worker.id, worker])),
    byTag: new Map(
      sortedWorkers.map((worker) => [workerTag(worker.id, worker.incarnation), worker]),
    ),
    text,
    ringText: JSON.stringify(sortedWorkers.map(({ id, weight }) => [id, weight])),
  };
}

function withRestarted(
  { workers, balancers }: Members,
  id: WorkerId,
  incarnation: Incarnation,
): Members {
  const restarted = { incarnation, state: "up" as const };
  return {
    workers: workers.map((worker) => (worker.id === id ? { ...worker, ...restarted } : worker)),
    balancers,
  };
}

function logFound(before: Snapshot, workers: readonly WorkerRecord[], log: Log): void {
  for (const { id, url } of workers) {
    const known = before.byId.get(id);
    if (known?.url === url) continue;
    const what = known === undefined ? "new worker found" : "worker found at another address";
    log.warn({ workerId: id, url }, `${what} while the store is unavailable`);
  }
}

function byName(a: MemberRecord, b: MemberRecord): number {
  return a.id < b.id ? -1 : 1;
}

// --- fingerprints ---

/**
 * Logs when the rings of processes keep differing, because they would send the same key to different workers. Once for
 * each set of differences.
 */
function createFingerprintWatch(clock: Clock, log: Log) {
  let seen = "";
  let sinceMs = 0;
  let isReported = false;

  return {
    check(own: string, { workers, balancers }: Members): void {
      const others = [...workers, ...balancers].filter(
        ({ ringFingerprint }) => ringFingerprint !== "" && ringFingerprint !== own,
      );
      const rings = [own, ...others.map(({ id, ringFingerprint }) => `${id} ${ringFingerprint}`)];
      const text = rings.join("\n");
      if (text !== seen) {
        seen = text;
        sinceMs = clock.nowMs();
        isReported = false;
      }
      if (others.length === 0 || isReported) return;
      if (clock.nowMs() - sinceMs < FINGERPRINT_PATIENCE_MS) return;
      isReported = true;
      log.error(
        { ring: own, members: others.map(({ id }) => id) },
        "processes have different rings and may route the same key differently; check that they run the same version with the same weights",
      );
    },
  };
}
