/**
 * Which worker gets a request now: follows membership, remembers who owns which session, asks the store once when it does
 * not know, and else follows the ring.
 */
import type { Clock } from "../shared/clock.ts";
import type { SessionKey, WorkerId } from "../shared/ids.ts";
import type { WorkerRecord } from "../shared/membership/member.ts";
import type { Counters } from "../shared/metrics.ts";
import type { Ring } from "../shared/ring.ts";
import type { SessionRecord } from "../shared/store/store.ts";
import type { WorkerTag } from "../shared/tag.ts";
import { pickLeastLoaded, withinLoadCap } from "./placement.ts";
import type { Route, Rule } from "./stickiness.ts";
import type { Upstream } from "./upstream.ts";

/** Where a request goes, and why, for `explain`, logs and metrics. */
export interface Decision {
  /** Undefined: no worker can take it. */
  readonly upstream: Upstream | undefined;
  /** The rule that counted in the end. */
  readonly rule: Rule;
  readonly reason: Reason;
}

/**
 * `tag`: it issued the id · `record`: it owns the session · `ring`: the first candidate that can take it ·
 * `load`: the less loaded of two · `told`: another worker's 421 named it · `nobody`: there is none.
 */
export type Reason = "tag" | "record" | "ring" | "load" | "told" | "nobody";

export interface Directory {
  /**
   * The worker for a request, never one in `exclude`. A promise only when the store has to be asked (at most
   * `LOOKUP_BUDGET_MS`); it never rejects.
   */
  choose(route: Route, exclude: ReadonlySet<Upstream>): Decision | Promise<Decision>;
  /** The worker that a 421 named, if it is known. */
  byId(id: WorkerId): Upstream | undefined;
  /** A worker said that `worker` owns the session `key` in `epoch`. A lower epoch never replaces a higher one. */
  learn(key: SessionKey, worker: WorkerId, epoch: number): void;
  /** What is remembered of `key` was wrong, or is about to change: ask again. */
  forget(key: SessionKey): void;
  /** How many workers can take new sessions. */
  readonly usable: number;
  readonly upstreams: readonly Upstream[];
  close(): void;
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
/** Sessions and aliases that are remembered; about 200 bytes each. */
const MAX_RECORDS = 100_000;
const MAX_ABSENT = 10_000;
/** Look-ups under way at a time; beyond them the ring decides. */
const MAX_LOOKUPS = 1000;

export function createDirectory(needs: {
  view: MembershipView;
  store: { findSession(key: SessionKey): Promise<SessionRecord | undefined> };
  clock: Clock;
  counters: Counters;
  createUpstream: (record: WorkerRecord) => Upstream;
  /** Whether workers say how many sessions they have; if not, none is capped. */
  loadIsKnown: boolean;
  /** Called when a session is seen under a higher epoch at another worker. */
  onMoved: (key: SessionKey, epoch: number) => void;
  /** 0 to below 1. */
  random: () => number;
}): Directory {
  const { view, clock, counters } = needs;
  const upstreamsById = new Map<WorkerId, Upstream>();
  const owners = createOwners(needs.onMoved);
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
      upstream?.retire();
      upstreamsById.set(record.id, needs.createUpstream(record));
    }
    for (const [id, upstream] of upstreamsById) {
      if (present.has(id)) continue;
      upstreamsById.delete(id);
      upstream.retire();
    }
  }

  function choose(route: Route, exclude: ReadonlySet<Upstream>): Decision | Promise<Decision> {
    const { tag, key } = route;
    if (tag !== undefined) {
      const upstream = byTag(tag.tag);
      if (upstream !== undefined && !exclude.has(upstream)) {
        const decision: Decision = { upstream, rule: tag.rule, reason: "tag" };
        if (tag.rule !== "sid" || key === undefined) return decision;
        return checkMoved(decision, upstream, key, exclude);
      }
    }
    if (key !== undefined) return chooseByKey(key, exclude);
    return chooseFreely(route.isCreate, exclude);
  }

  function byTag(tag: WorkerTag): Upstream | undefined {
    const record = view.byTag(tag);
    return record === undefined ? undefined : upstreamsById.get(record.id);
  }

  /**
   * A socket id counts only while its session has not moved. What is remembered may be older than the id, so when the two
   * differ, the store decides.
   */
  function checkMoved(
    tagged: Decision,
    upstream: Upstream,
    key: NonNullable<Route["key"]>,
    exclude: ReadonlySet<Upstream>,
  ): Decision | Promise<Decision> {
    const owner = owners.get(key.key);
    if (owner === undefined || owner.worker === upstream.id) return tagged;
    return lookUp(key.key).then((found) => {
      if (found.record === undefined || found.record.owner === upstream.id) return tagged;
      return decideByRecord(key, found, exclude);
    });
  }

  function chooseByKey(
    key: NonNullable<Route["key"]>,
    exclude: ReadonlySet<Upstream>,
  ): Decision | Promise<Decision> {
    const owner = owners.get(key.key);
    const upstream = owner === undefined ? undefined : upstreamsById.get(owner.worker);
    if (upstream !== undefined && canServe(upstream, exclude)) {
      return { upstream, rule: key.rule, reason: "record" };
    }
    if (isAbsent(key.key)) return decideByRing(key, exclude, true);
    return lookUp(key.key).then((found) => decideByRecord(key, found, exclude));
  }

  function decideByRecord(
    key: NonNullable<Route["key"]>,
    found: Found,
    exclude: ReadonlySet<Upstream>,
  ): Decision {
    const upstream = found.record === undefined ? undefined : upstreamsById.get(found.record.owner);
    if (upstream !== undefined && canServe(upstream, exclude)) {
      return { upstream, rule: key.rule, reason: "record" };
    }
    return decideByRing(key, exclude, found.result === "none");
  }

  /**
   * The first candidate that takes new sessions. When it is not sure that the session is new (the store did not say), a
   * candidate that only keeps its sessions will do, since ids are made such that the ring leads back to their worker.
   * When all are suspect, that says more about us than about them: the first known one is tried.
   */
  function decideByRing(
    key: NonNullable<Route["key"]>,
    exclude: ReadonlySet<Upstream>,
    isNew: boolean,
  ): Decision {
    let fallback: Upstream | undefined;
    for (const id of view.ring.candidates(key.key)) {
      const upstream = upstreamsById.get(id);
      if (upstream === undefined || exclude.has(upstream)) continue;
      if (upstream.takesNew || (!isNew && !upstream.isSuspect)) {
        return { upstream, rule: key.rule, reason: "ring" };
      }
      if (upstream.record.state === "up" || !isNew) fallback ??= upstream;
    }
    return { upstream: fallback, rule: key.rule, reason: fallback ? "ring" : "nobody" };
  }

  function chooseFreely(isCreate: boolean, exclude: ReadonlySet<Upstream>): Decision {
    const known = [...upstreamsById.values()].filter(
      (upstream) => upstream.record.state === "up" && !exclude.has(upstream),
    );
    const well = known.filter((upstream) => !upstream.isSuspect);
    const some = well.length > 0 ? well : known;
    const isCounted = isCreate && needs.loadIsKnown;
    const upstream = pickLeastLoaded(isCounted ? withinLoadCap(some) : some, needs.random);
    if (upstream === undefined) return { upstream, rule: "none", reason: "nobody" };
    if (isCounted) upstream.noteCreate();
    return { upstream, rule: "none", reason: "load" };
  }

  // --- look-ups ---

  /** Asks the store once per key at a time. Never rejects; what comes late is still learnt. */
  function lookUp(key: SessionKey): Promise<Found> {
    const running = lookups.get(key);
    if (running !== undefined) return running;
    if (lookups.size >= MAX_LOOKUPS) return Promise.resolve({ result: "late", record: undefined });
    const answered = ask(key);
    const lookup = new Promise<Found>((resolve) => {
      const budget = clock.after(LOOKUP_BUDGET_MS, () => {
        counters.count("balancer.lookups", "late");
        resolve({ result: "late", record: undefined });
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
      return { result: "away", record: undefined };
    }
    counters.count("balancer.lookups", record === undefined ? "none" : "found");
    if (record === undefined) {
      noteAbsent(key);
      return { result: "none", record };
    }
    owners.set(key, record.owner, record.epoch);
    if (key !== record.id) owners.set(record.id, record.owner, record.epoch);
    return { result: "found", record };
  }

  function noteAbsent(key: SessionKey): void {
    dropOldest(absentUntilMs, MAX_ABSENT);
    absentUntilMs.set(key, clock.nowMs() + ABSENT_MS);
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
    byId: (id) => upstreamsById.get(id),
    learn(key, worker, epoch) {
      absentUntilMs.delete(key);
      owners.set(key, worker, epoch);
    },
    forget(key) {
      absentUntilMs.delete(key);
      owners.delete(key);
    },
    get usable() {
      let usable = 0;
      for (const upstream of upstreamsById.values()) if (upstream.takesNew) usable++;
      return usable;
    },
    get upstreams() {
      return [...upstreamsById.values()];
    },
    close() {
      stopFollowing();
      for (const upstream of upstreamsById.values()) upstream.retire();
      upstreamsById.clear();
    },
  };
}

/** Whether it may be sent what is already its own: state does not matter, only health. */
function canServe(upstream: Upstream, exclude: ReadonlySet<Upstream>): boolean {
  return !upstream.isSuspect && !exclude.has(upstream);
}

/** `late`: the store did not answer within the budget. `away`: it cannot be reached. */
interface Found {
  readonly result: "found" | "none" | "late" | "away";
  readonly record: SessionRecord | undefined;
}

// --- who owns what ---

interface Owner {
  readonly worker: WorkerId;
  readonly epoch: number;
}

interface Owners {
  get(key: SessionKey): Owner | undefined;
  set(key: SessionKey, worker: WorkerId, epoch: number): void;
  delete(key: SessionKey): void;
}

/** A bounded memory; the key that was learnt longest ago goes first. */
function createOwners(onMoved: (key: SessionKey, epoch: number) => void): Owners {
  const ownersByKey = new Map<SessionKey, Owner>();
  return {
    get: (key) => ownersByKey.get(key),
    set(key, worker, epoch) {
      const known = ownersByKey.get(key);
      if (known !== undefined && known.epoch > epoch) return;
      if (known?.worker === worker && known.epoch === epoch) return;
      ownersByKey.delete(key);
      dropOldest(ownersByKey, MAX_RECORDS);
      ownersByKey.set(key, { worker, epoch });
      if (known !== undefined && known.worker !== worker) onMoved(key, epoch);
    },
    delete(key) {
      ownersByKey.delete(key);
    },
  };
}

/** Makes room for one more. */
function dropOldest(map: Map<SessionKey, unknown>, max: number): void {
  if (map.size < max) return;
  const oldest = map.keys().next();
  if (oldest.done !== true) map.delete(oldest.value);
}
