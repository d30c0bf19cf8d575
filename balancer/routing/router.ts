/**
 * Routes requests to workers: follows membership, caches the owners of sessions, looks an unknown owner up in the store
 * once, and otherwise uses the ring. The decisions themselves are pure: decision.ts, candidates.ts (the table of all cases),
 * health.ts, placement.ts.
 */
import type { Clock } from "../../shared/base/clock.ts";
import { copyOf, type Incarnation, type SessionKey, type WorkerId } from "../../shared/base/ids.ts";
import type { WorkerTag } from "../../shared/base/tag.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { Ring } from "../../shared/membership/ring.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import type { WorkerRecord } from "../../shared/store/member.ts";
import type { SessionRecord } from "../../shared/store/store.ts";
import { isPanic, statusOfWorker, type WorkerStatus } from "../upstreams/health.ts";
import type { Upstream } from "../upstreams/upstream.ts";
import type { CandidateTrace } from "./candidates.ts";
import { type Decided, type DecidedReason, decide, type Found, type View } from "./decision.ts";
import { createOwnerCache, dropOldest, type Owner } from "./owner-cache.ts";
import type { Route, Rule } from "./session-key.ts";

/** Where a request goes, and why; the reason is for logs and metrics. */
export interface Decision {
  /** Undefined: no worker can take it. */
  readonly upstream: Upstream | undefined;
  /** The rule that decided. */
  readonly rule: Rule;
  readonly reason: Reason;
  /** Whether a record names an owner of the session, reachable or not. */
  readonly hasOwner: boolean;
}

/** `misdirected`: another worker's 421 named it. */
export type Reason = DecidedReason | "misdirected";

/** What `choose` would decide, with every worker that it considered. */
export interface Explained {
  readonly decided: Decided;
  readonly trace: readonly CandidateTrace[];
  /** The cached owner of the key. */
  readonly cached: Owner | undefined;
  /** The outcome of the look-up; undefined: none was needed. */
  readonly found: Found | undefined;
}

export interface Router {
  /**
   * The worker for a request, never one in `exclude`. A promise only when the store has to be asked (for at most
   * `LOOKUP_BUDGET_MS`); it never rejects.
   */
  choose(route: Route, exclude: ReadonlySet<Upstream>): Decision | Promise<Decision>;
  /**
   * The same decision, for operators. It asks the store when `choose` would, and caches the response; it does not count as
   * a request for the chosen worker. Never rejects.
   */
  explain(route: Route): Promise<Explained>;
  /** Undefined: no such worker is known. */
  byId(id: WorkerId): Upstream | undefined;
  /** Caches that `worker` owns the session `key` in `epoch`, as a worker reported. A lower epoch never replaces a higher one. */
  learn(key: SessionKey, worker: WorkerId, epoch: number): void;
  /** Whether the session is known to be at another worker than `upstream`, in a higher epoch. */
  isOutdated(key: SessionKey, upstream: Upstream, epoch: number): boolean;
  /** Drops the cached owner of `key`: it was wrong, or is about to change. */
  forget(key: SessionKey): void;
  statusOfWorker(upstream: Upstream): WorkerStatus;
  /** Number of workers that can take new sessions. */
  readonly usable: number;
  readonly upstreams: readonly Upstream[];
  /** Workers whose lease expired, the latest at the end, until they return. */
  readonly gone: readonly Gone[];
  /** Whether probes are ignored now (`isPanic`). */
  readonly isPanicking: boolean;
  /** The newest cached owners, for a snapshot. */
  newestOwners(max: number): readonly (readonly [SessionKey, Owner])[];
  /** Counts changes of the owner cache. */
  readonly ownersRevision: number;
  close(): void;
}

/** A worker whose lease expired. */
export interface Gone {
  readonly id: WorkerId;
  readonly incarnation: Incarnation;
  /** Monotonic. */
  readonly atMs: number;
}

/** The part of shared/membership/view.ts that is used. */
export interface MembershipView {
  readonly workers: readonly WorkerRecord[];
  readonly ring: Ring;
  byTag(tag: WorkerTag): WorkerRecord | undefined;
  /** Returns a function that stops the calls. */
  onChange(listener: () => void): () => void;
}

/** Longest wait of a request for the store. */
export const LOOKUP_BUDGET_MS = 50;
/** How long "no such session" is cached. */
const ABSENT_MS = 1000;
const MAX_ABSENT = 10_000;
/** Concurrent look-ups; beyond them the ring decides. */
const MAX_LOOKUPS = 1000;
/** Entries of `gone`. */
const MAX_GONE = 50;

export function createRouter(deps: {
  view: MembershipView;
  store: { findSession(key: SessionKey): Promise<SessionRecord | undefined> };
  clock: Clock;
  counters: Counters;
  log: Log;
  /** The upstream calls `onHealth` after each change of its health. */
  createUpstream: (record: WorkerRecord, onHealth: () => void) => Upstream;
  /**
   * Whether workers have a lease and report their load, as those of a store do. If not, an unresponsive worker cannot be
   * presumed alive, and no worker is capped.
   */
  isLeased: boolean;
  /** Called when a session is seen in a higher epoch than before; `at`: its worker, if known. */
  onEpoch: (key: SessionKey, epoch: number, at: Upstream | undefined) => void;
  /** 0 to below 1. */
  random: () => number;
}): Router {
  const { view, clock, counters } = deps;
  const upstreamsById = new Map<WorkerId, Upstream>();
  /** Counts returns of workers in another incarnation; `changeOf` has the count at each worker's last return. */
  let changes = 0;
  const changeOf = new Map<WorkerId, number>();
  const owners = createOwnerCache(
    (key, from, to, epoch) => {
      deps.onEpoch(key, epoch, upstreamsById.get(to));
      if (from === undefined || from === to) return;
      counters.count("balancer.moved");
      upstreamsById.get(from)?.noteTakenOver();
    },
    () => changes,
  );
  const gone = new Map<WorkerId, Gone>();
  let panic = false;
  const absentUntilMs = new Map<SessionKey, number>();
  const lookups = new Map<SessionKey, Promise<Found>>();

  const stopFollowing = view.onChange(follow);
  follow();

  /** Makes the upstreams match membership. */
  function follow(): void {
    const present = new Set<WorkerId>();
    for (const record of view.workers) {
      present.add(record.id);
      const upstream = upstreamsById.get(record.id);
      if (upstream?.isSame(record) === true) {
        upstream.update(record);
        continue;
      }
      const before = upstream?.record.incarnation ?? gone.get(record.id)?.incarnation;
      if (before !== undefined && before !== record.incarnation) changeOf.set(record.id, ++changes);
      gone.delete(record.id);
      upstream?.retire();
      upstreamsById.set(record.id, deps.createUpstream(record, updatePanic));
    }
    for (const [id, upstream] of upstreamsById) {
      if (present.has(id)) continue;
      upstreamsById.delete(id);
      noteGone(upstream);
      upstream.retire();
    }
    updatePanic();
  }

  function noteGone({ id, record }: Upstream): void {
    if (gone.size >= MAX_GONE) gone.delete([...gone.keys()][0] ?? id);
    gone.set(id, { id, incarnation: record.incarnation, atMs: clock.nowMs() });
  }

  /** Called after each change of the workers or of their health. */
  function updatePanic(): void {
    const before = panic;
    panic =
      deps.isLeased && isPanic([...upstreamsById.values()].map((upstream) => upstream.health));
    if (panic === before) return;
    const workers = upstreamsById.size;
    if (panic)
      deps.log.error(
        { workers },
        "most workers fail probes while their leases are valid: ignoring probes, check this balancer's network",
      );
    else deps.log.info({ workers }, "workers respond to probes again: no longer ignoring them");
  }

  function statusOf(upstream: Upstream): WorkerStatus {
    return statusOfWorker(upstream.health, panic);
  }

  function takesNew(upstream: Upstream): boolean {
    return upstream.record.state === "up" && statusOf(upstream) === "healthy";
  }

  function choose(route: Route, exclude: ReadonlySet<Upstream>): Decision | Promise<Decision> {
    const seen = exclude.size === 0 ? everything : viewWithout(exclude);
    const decided = decide(route, seen, undefined);
    if (decided !== "ask") return toDecision(route, decided);
    return askFor(route).then((found) => toDecision(route, decide(route, seen, found)));
  }

  async function explain(route: Route): Promise<Explained> {
    const cached = route.key === undefined ? undefined : owners.get(route.key.key);
    const trace: CandidateTrace[] = [];
    const decided = decide(route, everything, undefined, trace);
    if (decided !== "ask") return { decided, trace, cached, found: undefined };
    const found = await askFor(route);
    const second: CandidateTrace[] = [];
    return { decided: decide(route, everything, found, second), trace: second, cached, found };
  }

  function toDecision(route: Route, { worker, rule, reason, hasOwner }: Decided): Decision {
    const upstream = worker === undefined ? undefined : upstreamsById.get(worker);
    if (reason === "load" && route.isCreate && deps.isLeased) upstream?.noteCreate();
    return { upstream, rule, reason, hasOwner };
  }

  // --- the view that a decision is made by ---

  const everything: View = viewWithout(new Set());

  function viewWithout(exclude: ReadonlySet<Upstream>): View {
    return {
      byTag: (tag) => view.byTag(tag)?.id,
      see(id) {
        const upstream = upstreamsById.get(id);
        if (upstream === undefined || exclude.has(upstream)) return undefined;
        return { status: statusOf(upstream), state: upstream.record.state };
      },
      ownerOf: (key) => owners.get(key)?.worker,
      isCurrent(key) {
        const known = owners.get(key);
        return known !== undefined && known.change >= (changeOf.get(known.worker) ?? 0);
      },
      isAbsent,
      candidates: (key) => view.ring.candidates(key),
      workers: () => [...upstreamsById.values()],
      isLeased: deps.isLeased,
      random: deps.random,
    };
  }

  // --- look-ups ---

  function askFor({ key }: Route): Promise<Found> {
    // Only keys are looked up.
    return key === undefined ? Promise.resolve("none") : lookUp(key.key);
  }

  /** One look-up per key at a time. Never rejects; a late response is still cached. */
  function lookUp(key: SessionKey): Promise<Found> {
    const running = lookups.get(key);
    if (running !== undefined) return running;
    if (lookups.size >= MAX_LOOKUPS) return Promise.resolve("late");
    const answered = findOwner(key);
    const lookup = new Promise<Found>((resolve) => {
      const budget = clock.after(LOOKUP_BUDGET_MS, () => {
        counters.count("balancer.lookups", "late");
        resolve("late");
      });
      void answered.then((found) => {
        budget.cancel();
        // It stays in the table until the store responds, so that a slow store is not asked repeatedly.
        lookups.delete(key);
        resolve(found);
      });
    });
    lookups.set(key, lookup);
    return lookup;
  }

  /** Never rejects. */
  async function findOwner(key: SessionKey): Promise<Found> {
    let record: SessionRecord | undefined;
    try {
      record = await deps.store.findSession(key);
    } catch {
      // The store logs its own outage; here the ring takes over.
      counters.count("balancer.lookups", "away");
      return "away";
    }
    counters.count("balancer.lookups", record === undefined ? "none" : "found");
    if (record === undefined) {
      cacheAbsent(key);
      return "none";
    }
    owners.set(key, record.owner, record.epoch);
    if (key !== record.id) owners.set(record.id, record.owner, record.epoch);
    return "found";
  }

  function cacheAbsent(key: SessionKey): void {
    dropOldest(absentUntilMs, MAX_ABSENT);
    absentUntilMs.set(copyOf(key), clock.nowMs() + ABSENT_MS);
  }

  function isAbsent(key: SessionKey): boolean {
    const untilMs = absentUntilMs.get(key);
    if (untilMs === undefined) return false;
    if (untilMs > clock.nowMs()) return true;
    absentUntilMs.delete(key);
    return false;
  }

  return {
    choose,
    explain,
    byId: (id) => upstreamsById.get(id),
    learn(key, worker, epoch) {
      absentUntilMs.delete(key);
      owners.set(key, worker, epoch);
    },
    forget(key) {
      absentUntilMs.delete(key);
      owners.delete(key);
    },
    isOutdated(key, upstream, epoch) {
      const known = owners.get(key);
      if (known === undefined || known.epoch <= epoch) return false;
      return upstreamsById.get(known.worker) !== upstream;
    },
    statusOfWorker: statusOf,
    get usable() {
      let usable = 0;
      for (const upstream of upstreamsById.values()) if (takesNew(upstream)) usable++;
      return usable;
    },
    get upstreams() {
      return [...upstreamsById.values()];
    },
    get gone() {
      return [...gone.values()];
    },
    get isPanicking() {
      return panic;
    },
    newestOwners: (max) => owners.newest(max),
    get ownersRevision() {
      return owners.revision;
    },
    close() {
      stopFollowing();
      for (const upstream of upstreamsById.values()) upstream.close();
      upstreamsById.clear();
    },
  };
}
