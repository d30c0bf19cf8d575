/**
 * Who the members are, as this process sees it: read from the store every second and soon after a hint, turned into a
 * ring, and swapped in as a whole. While the store is away, what was read last rules.
 * What is believed of what was read: belief.ts.
 */
import type { Clock, Timer } from "../base/clock.ts";
import type { Incarnation, WorkerId } from "../base/ids.ts";
import { type WorkerTag, workerTag } from "../base/tag.ts";
import type { Log } from "../logs/log.ts";
import type { BalancerRecord, MemberRecord, WorkerRecord } from "../store/member.ts";
import { type Membership, type Store, StoreAwayError } from "../store/store.ts";
import type { MemberVerification } from "./member-verification.ts";
import { type Members, reconcile } from "./reconcile.ts";
import { createRing, type Ring } from "./ring.ts";

/** Hints may be missed; a snapshot is never older than this while the store answers. */
const POLL_PERIOD_MS = 1000;
/**
 * Fingerprints may differ while a change of the members goes round: a poll and a beat each, and some slowness.
 */
const FINGERPRINT_PATIENCE_MS = 5000;

export interface MembershipView {
  /** Reads the first snapshot. With the store away it resolves at once and goes on trying. */
  start(): Promise<void>;
  close(): void;
  /** In name order. A new array for each snapshot that differs; it is never changed. */
  readonly workers: readonly WorkerRecord[];
  readonly balancers: readonly BalancerRecord[];
  /** Of all workers, whatever their state. */
  readonly ring: Ring;
  /** Whether a snapshot has been read from the store at all. */
  readonly fresh: boolean;
  /**
   * Holds true what was read in an earlier life of this process, until the store says more. Does nothing after a snapshot
   * was read.
   */
  recall(workers: readonly WorkerRecord[]): void;
  /**
   * A worker has proved that it lives another life than its record says. Held true until the store says more: with the
   * store away there is nobody else to learn it from. It is taken for one that has just started.
   */
  hear(id: WorkerId, incarnation: Incarnation): void;
  /**
   * A worker that reaches the store has read there that these are there, while this process does not. Held true until the
   * store says more; that somebody is missing among them says nothing.
   */
  hearMembers(workers: readonly WorkerRecord[]): void;
  worker(id: WorkerId): WorkerRecord | undefined;
  byTag(tag: WorkerTag): WorkerRecord | undefined;
  /** Calls `listener` after each snapshot that differs from the one before. Returns the way to stop. */
  onChange(listener: () => void): () => void;
}

export function createMembershipView(needs: {
  readonly store: Pick<Store, "members" | "onChange" | "onHealth">;
  readonly clock: Clock;
  readonly log: Log;
  readonly ringKey: Buffer;
  /** Who is believed; everybody by default. */
  readonly admission?: Pick<MemberVerification, "admit">;
}): MembershipView {
  const { store, clock, log } = needs;
  const listeners = new Set<() => void>();
  let snapshot = takeSnapshot({ workers: [], balancers: [] });
  let ring = createRing([], needs.ringKey);
  let fresh = false;
  let isClosed = false;
  let reading: Promise<void> | undefined;
  let readAgain = false;
  let poll: Timer | undefined;
  const stops: (() => void)[] = [];
  const fingerprints = createFingerprintWatch(clock, log);

  /** Reads once more after a read under way, however many ask meanwhile. */
  function read(): Promise<void> {
    readAgain = reading !== undefined;
    reading ??= readUntilQuiet();
    return reading;
  }

  async function readUntilQuiet(): Promise<void> {
    do {
      readAgain = false;
      await readOnce();
    } while (readAgain && !isClosed);
    // In the same step as the last look at `readAgain`: a call in between would be neither served nor begin a read.
    reading = undefined;
  }

  async function readOnce(): Promise<void> {
    try {
      const seen = await store.members();
      if (isClosed) return;
      accept({ ...seen, members: needs.admission?.admit(seen.members) ?? seen.members });
    } catch (error) {
      // The store's client says when it is away; the last snapshot rules.
      if (!(error instanceof StoreAwayError)) {
        log.error({ err: error }, "cannot read the members");
      }
    }
  }

  function accept(seen: Membership): void {
    const wasFresh = fresh;
    fresh = true;
    swap(takeSnapshot(reconcile(snapshot, seen), snapshot), !wasFresh);
    // Until then the snapshot holds some who may be gone, with the rings that they saw at last.
    if (seen.booted)
      fingerprints.look(ring.fingerprint, [...snapshot.workers, ...snapshot.balancers]);
  }

  function swap(next: Snapshot, isNews: boolean): void {
    const before = snapshot;
    if (next.text === before.text && !isNews) return;
    snapshot = next;
    if (next.ringText !== before.ringText) swapRing(next);
    for (const listener of listeners) tell(listener);
  }

  function swapRing(next: Snapshot): void {
    ring = createRing(next.workers, needs.ringKey);
    log.info({ workers: next.workers.length, ring: ring.fingerprint }, "ring changed");
  }

  function tell(listener: () => void): void {
    try {
      listener();
    } catch (error) {
      log.error({ err: error }, "membership listener failed");
    }
  }

  /** For timers and hints; `readOnce` reports its failures itself. */
  function readUnwatched(): void {
    void read();
  }

  return {
    async start() {
      if (poll !== undefined || isClosed) return;
      stops.push(
        store.onChange((change) => {
          if (change.subject === "members") readUnwatched();
        }),
        store.onHealth((health) => {
          if (health.state === "up") readUnwatched();
        }),
      );
      poll = clock.every(POLL_PERIOD_MS, readUnwatched);
      await read();
    },
    close() {
      isClosed = true;
      poll?.cancel();
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
    recall(workers) {
      if (!fresh) swap(takeSnapshot({ workers, balancers: [] }), false);
    },
    hear(id, incarnation) {
      const { workers, balancers } = snapshot;
      if (snapshot.byId.get(id)?.incarnation === incarnation) return;
      log.warn({ workerId: id }, "a worker restarted while the store is unavailable");
      const anew = { incarnation, state: "up" as const };
      const heard = workers.map((worker) => (worker.id === id ? { ...worker, ...anew } : worker));
      swap(takeSnapshot({ workers: heard, balancers }), false);
    },
    hearMembers(workers) {
      for (const { id, url } of workers) {
        const known = snapshot.byId.get(id);
        if (known?.url === url) continue;
        const what = known === undefined ? "new worker found" : "worker found at another address";
        log.warn({ workerId: id, url }, `${what} while the store is unavailable`);
      }
      swap(takeSnapshot(reconcile(snapshot, { members: workers, booted: false }), snapshot), false);
    },
    worker: (id) => snapshot.byId.get(id),
    byTag: (tag) => snapshot.byTag.get(tag),
    onChange(listener) {
      const own = (): void => listener();
      listeners.add(own);
      return () => listeners.delete(own);
    },
  };
}

// --- snapshots: values in, values out ---

interface Snapshot extends Members {
  readonly byId: ReadonlyMap<WorkerId, WorkerRecord>;
  readonly byTag: ReadonlyMap<WorkerTag, WorkerRecord>;
  /** All of it, to see whether anything has changed; and what the ring depends on. */
  readonly text: string;
  readonly ringText: string;
}

/** `before` itself when nothing differs from it, as in most polls: then no tags are computed again. */
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

function byName(a: MemberRecord, b: MemberRecord): number {
  return a.id < b.id ? -1 : 1;
}

// --- fingerprints ---

/**
 * Says when processes that should see the same members go on having different rings: they would send the same key to
 * different workers. Once for each way in which they differ.
 */
function createFingerprintWatch(clock: Clock, log: Log) {
  let seen = "";
  let sinceMs = 0;
  let isReported = false;

  return {
    look(own: string, members: readonly MemberRecord[]): void {
      const others = members.filter(
        ({ ringFingerprint }) => ringFingerprint !== "" && ringFingerprint !== own,
      );
      const found = [own, ...others.map(({ id, ringFingerprint }) => `${id} ${ringFingerprint}`)];
      const text = found.join("\n");
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
