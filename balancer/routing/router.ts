/**
 * Which worker gets a request now: follows membership, remembers who owns which session, asks the store once when it does
 * not know, and else follows the ring. What it decides by is pure: candidates.ts (the table of all cases), health.ts,
 * placement.ts.
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
import { type Decided, type DecidedReason, decide, type Found, type Sight } from "./decision.ts";
import { createOwnerCache, dropOldest, type Owner } from "./owner-cache.ts";
import type { Route, Rule } from "./session-key.ts";

/** Where a request goes, and why, for logs and metrics. */
export interface Decision {
  /** Undefined: no worker can take it. */
  readonly upstream: Upstream | undefined;
  /** The rule that counted in the end. */
  readonly rule: Rule;
  readonly reason: Reason;
  /** Whether a record names an owner of the session, be it there or not. */
  readonly hasOwner: boolean;
}

/** `told`: another worker's 421 named it. */
export type Reason = DecidedReason | "told";

/** What `choose` would decide, and what it thought of each worker. */
export interface Explained {
  readonly decided: Decided;
  readonly notes: readonly CandidateTrace[];
  /** What was remembered of the key's owner. */
  readonly remembered: Owner | undefined;
  /** What the store said now; undefined: it was not asked. */
  readonly found: Found | undefined;
}

export interface Router {
  /**
   * The worker for a request, never one in `exclude`. A promise only when the store has to be asked (at most
   * `LOOKUP_BUDGET_MS`); it never rejects.
   */
  choose(route: Route, exclude: ReadonlySet<Upstream>): Decision | Promise<Decision>;
  /**
   * The same decision, for people. It asks the store when `choose` would, and remembers what it says; a request without a
   * key is not counted as one that goes there. Never rejects.
   */
  explain(route: Route): Promise<Explained>;
  /** The worker that a 421 named, if it is known. */
  byId(id: WorkerId): Upstream | undefined;
  /** A worker said that `worker` owns the session `key` in `epoch`. A lower epoch never replaces a higher one. */
  learn(key: SessionKey, worker: WorkerId, epoch: number): void;
  /** Whether the session is known to be elsewhere than at `upstream`, in a higher epoch. */
  isOutdated(key: SessionKey, upstream: Upstream, epoch: number): boolean;
  /** What is remembered of `key` was wrong, or is about to change: ask again. */
  forget(key: SessionKey): void;
  statusOfWorker(upstream: Upstream): WorkerStatus;
  /** How many workers can take new sessions. */
  readonly usable: number;
  readonly upstreams: readonly Upstream[];
  /** Workers whose lease was gone, the last ones at the end, until they are back. */
  readonly gone: readonly Gone[];
  /** Whether probes are not believed now. */
  readonly isPanicking: boolean;
  /** What is remembered of owners, for a snapshot. */
  newestOwners(max: number): readonly (readonly [SessionKey, Owner])[];
  /** Counts changes of what is remembered of owners. */
  readonly ownersRevision: number;
  close(): void;
}

/** A worker that was taken for dead because its lease was gone. */
export interface Gone {
  readonly id: WorkerId;
  readonly incarnation: Incarnation;
  /** Monotonic. */
  readonly atMs: number;
}

/** What is used of shared/membership/view.ts. */
export interface MembershipView {
  readonly workers: readonly WorkerRecord[];
  readonly ring: Ring;
  byTag(tag: WorkerTag): WorkerRecord | undefined;
  /** Returns the way to stop. */
  onChange(listener: () => void): () => void;
}

/** Longest wait for the store in the path of a request. */
export const LOOKUP_BUDGET_MS = 50;
/** How long "no such session" is believed. */
const ABSENT_MS = 1000;
const MAX_ABSENT = 10_000;
/** Look-ups under way at a time; beyond them the ring decides. */
const MAX_LOOKUPS = 1000;
/** Workers that are remembered as gone. */
const MAX_GONE = 50;

export function createRouter(needs: {
  view: MembershipView;
  store: { findSession(key: SessionKey): Promise<SessionRecord | undefined> };
  clock: Clock;
  counters: Counters;
  log: Log;
  /** `onHealth` is to be called after each change of its health. */
  createUpstream: (record: WorkerRecord, onHealth: () => void) => Upstream;
  /**
   * Whether workers have a lease and say how busy they are, as those of a store do. If not, nothing speaks for a worker
   * that does not answer, and no worker is capped.
   */
  isLeased: boolean;
  /** Called when a session is seen in a higher epoch than before; `at`: its worker, if that is known. */
  onEpoch: (key: SessionKey, epoch: number, at: Upstream | undefined) => void;
  /** 0 to below 1. */
  random: () => number;
}): Router {
  const { view, clock, counters } = needs;
  const upstreamsById = new Map<WorkerId, Upstream>();
  /** How often a worker came back in another incarnation, and at which of these changes each did last. */
  let changes = 0;
  const changeOf = new Map<WorkerId, number>();
  const owners = createOwnerCache(
    (key, from, to, epoch) => {
      needs.onEpoch(key, epoch, upstreamsById.get(to));
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

  /** Makes the upstreams the same as membership. */
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
      upstreamsById.set(record.id, needs.createUpstream(record, judgeAll));
    }
    for (const [id, upstream] of upstreamsById) {
      if (present.has(id)) continue;
      upstreamsById.delete(id);
      noteGone(upstream);
      upstream.retire();
    }
    judgeAll();
  }

  function noteGone({ id, record }: Upstream): void {
    if (gone.size >= MAX_GONE) gone.delete([...gone.keys()][0] ?? id);
    gone.set(id, { id, incarnation: record.incarnation, atMs: clock.nowMs() });
  }

  /** After each change of the workers or of their health. */
  function judgeAll(): void {
    const before = panic;
    panic =
      needs.isLeased && isPanic([...upstreamsById.values()].map((upstream) => upstream.health));
    if (panic === before) return;
    const workers = upstreamsById.size;
    if (panic) needs.log.error({ workers }, "most workers do not answer probes; not believed");
    else needs.log.info({ workers }, "probes are believed again");
  }

  function standing(upstream: Upstream): WorkerStatus {
    return statusOfWorker(upstream.health, panic);
  }

  function takesNew(upstream: Upstream): boolean {
    return upstream.record.state === "up" && standing(upstream) === "well";
  }

  function choose(route: Route, exclude: ReadonlySet<Upstream>): Decision | Promise<Decision> {
    const sight = exclude.size === 0 ? everything : sightWithout(exclude);
    const decided = decide(route, sight, undefined);
    if (decided !== "ask") return toDecision(route, decided);
    return askFor(route).then((found) => toDecision(route, decide(route, sight, found)));
  }

  async function explain(route: Route): Promise<Explained> {
    const remembered = route.key === undefined ? undefined : owners.get(route.key.key);
    const notes: CandidateTrace[] = [];
    const decided = decide(route, everything, undefined, notes);
    if (decided !== "ask") return { decided, notes, remembered, found: undefined };
    const found = await askFor(route);
    const again: CandidateTrace[] = [];
    return { decided: decide(route, everything, found, again), notes: again, remembered, found };
  }

  function toDecision(route: Route, { worker, rule, reason, hasOwner }: Decided): Decision {
    const upstream = worker === undefined ? undefined : upstreamsById.get(worker);
    if (reason === "load" && route.isCreate && needs.isLeased) upstream?.noteCreate();
    return { upstream, rule, reason, hasOwner };
  }

  // --- what is seen ---

  const everything: Sight = sightWithout(new Set());

  function sightWithout(exclude: ReadonlySet<Upstream>): Sight {
    return {
      byTag: (tag) => view.byTag(tag)?.id,
      see(id) {
        const upstream = upstreamsById.get(id);
        if (upstream === undefined || exclude.has(upstream)) return undefined;
        return { standing: standing(upstream), state: upstream.record.state };
      },
      ownerOf: (key) => owners.get(key)?.worker,
      isCurrent(key) {
        const known = owners.get(key);
        return known !== undefined && known.change >= (changeOf.get(known.worker) ?? 0);
      },
      isAbsent,
      candidates: (key) => view.ring.candidates(key),
      everybody: () => [...upstreamsById.values()],
      isLeased: needs.isLeased,
      random: needs.random,
    };
  }

  // --- look-ups ---

  function askFor({ key }: Route): Promise<Found> {
    // Only a key has to be asked for.
    return key === undefined ? Promise.resolve("none") : lookUp(key.key);
  }

  /** Asks the store once per key at a time. Never rejects; what comes late is still learnt. */
  function lookUp(key: SessionKey): Promise<Found> {
    const running = lookups.get(key);
    if (running !== undefined) return running;
    if (lookups.size >= MAX_LOOKUPS) return Promise.resolve("late");
    const answered = ask(key);
    const lookup = new Promise<Found>((resolve) => {
      const budget = clock.after(LOOKUP_BUDGET_MS, () => {
        counters.count("balancer.lookups", "late");
        resolve("late");
      });
      void answered.then((found) => {
        budget.cancel();
        // It stays in the table until the store has answered: a slow store is not asked again and again.
        lookups.delete(key);
        resolve(found);
      });
    });
    lookups.set(key, lookup);
    return lookup;
  }

  /** Never rejects. */
  async function ask(key: SessionKey): Promise<Found> {
    let record: SessionRecord | undefined;
    try {
      record = await needs.store.findSession(key);
    } catch {
      // The store reports its own absence; here the ring takes over.
      counters.count("balancer.lookups", "away");
      return "away";
    }
    counters.count("balancer.lookups", record === undefined ? "none" : "found");
    if (record === undefined) {
      noteAbsent(key);
      return "none";
    }
    owners.set(key, record.owner, record.epoch);
    if (key !== record.id) owners.set(record.id, record.owner, record.epoch);
    return "found";
  }

  function noteAbsent(key: SessionKey): void {
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
    statusOfWorker: standing,
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
