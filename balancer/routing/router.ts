/**
 * Routes requests to workers: follows the cached owners of sessions, looks an unknown owner up in the store once, and
 * otherwise uses the ring. The decisions themselves are pure: decision.ts, candidates.ts (the table of all cases),
 * health.ts, placement.ts.
 */
import type { SessionKey, WorkerId } from "../../shared/base/ids.ts";
import type { WorkerTag } from "../../shared/base/worker-tag.ts";
import type { Ring } from "../../shared/membership/ring.ts";
import type { WorkerRecord } from "../../shared/store/member.ts";
import type { WorkerStatus } from "../upstreams/health.ts";
import type { Upstream } from "../upstreams/upstream.ts";
import type { CandidateTrace } from "./candidates.ts";
import { type Decided, type DecidedReason, decide, type Found, type View } from "./decision.ts";
import { Lookups, type LookupsDeps } from "./lookups.ts";
import { createOwnerCache, type Owner, type OwnerCache } from "./owner-cache.ts";
import type { Route, Rule } from "./session-key.ts";
import { type Gone, Workers, type WorkersDeps } from "./workers.ts";

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

/** The part of shared/membership/view.ts that is used. */
export interface MembershipView {
  readonly workers: readonly WorkerRecord[];
  readonly ring: Ring;
  byTag(tag: WorkerTag): WorkerRecord | undefined;
  /** Returns a function that stops the calls. */
  onChange(listener: () => void): () => void;
}

export interface RouterDeps extends WorkersDeps, Omit<LookupsDeps, "owners"> {
  readonly view: MembershipView;
  /** Called when a session is seen in a higher epoch than before; `at`: its worker, if known. */
  readonly onEpoch: (key: SessionKey, epoch: number, at: Upstream | undefined) => void;
  /** 0 to below 1. */
  readonly random: () => number;
}

export function createRouter(deps: RouterDeps): Router {
  return new Router(deps);
}

export class Router {
  readonly #deps: RouterDeps;
  readonly #workers: Workers;
  readonly #owners: OwnerCache;
  readonly #lookups: Lookups;
  /** The view that excludes no worker, shared because most decisions need only this one. */
  readonly #everything: View;

  constructor(deps: RouterDeps) {
    this.#deps = deps;
    this.#workers = new Workers(deps);
    this.#owners = createOwnerCache(
      (key, from, to, epoch) => this.#noteMoved(key, from, to, epoch),
      () => this.#workers.changes,
    );
    const { store, clock, counters } = deps;
    this.#lookups = new Lookups({ store, owners: this.#owners, clock, counters });
    this.#everything = this.#viewWithout(new Set());
  }

  // --- decisions ---

  /**
   * The worker for a request, never one in `exclude`. A promise only when the store has to be asked (for at most
   * `LOOKUP_BUDGET_MS`); it never rejects.
   */
  choose(route: Route, exclude: ReadonlySet<WorkerId>): Decision | Promise<Decision> {
    const view = exclude.size === 0 ? this.#everything : this.#viewWithout(exclude);
    const decided = decide(route, view, undefined);
    if (decided !== "ask") return this.#toDecision(route, decided);
    return this.#askFor(route).then((found) => this.#toDecision(route, decide(route, view, found)));
  }

  /**
   * The same decision, for operators. It asks the store when `choose` would, and caches the response; it does not count as
   * a request for the chosen worker. Never rejects.
   */
  async explain(route: Route): Promise<Explained> {
    const view = this.#everything;
    const cached = route.key === undefined ? undefined : this.#owners.get(route.key.key);
    const trace: CandidateTrace[] = [];
    const decided = decide(route, view, undefined, trace);
    if (decided !== "ask") return { decided, trace, cached, found: undefined };
    const found = await this.#askFor(route);
    const second: CandidateTrace[] = [];
    return { decided: decide(route, view, found, second), trace: second, cached, found };
  }

  #toDecision(route: Route, { worker, rule, reason, hasOwner }: Decided): Decision {
    const upstream = worker === undefined ? undefined : this.#workers.byId(worker);
    if (reason === "load" && route.isCreate && this.#deps.isLeased) upstream?.noteCreate();
    return { upstream, rule, reason, hasOwner };
  }

  #askFor({ key }: Route): Promise<Found> {
    // Only keys are looked up.
    return key === undefined ? Promise.resolve("none") : this.#lookups.find(key.key);
  }

  /** The view that a decision is made by. */
  #viewWithout(exclude: ReadonlySet<WorkerId>): View {
    const { view, isLeased, random } = this.#deps;
    const workers = this.#workers;
    const owners = this.#owners;
    const lookups = this.#lookups;
    return {
      byTag: (tag) => view.byTag(tag)?.id,
      see(id) {
        const upstream = exclude.has(id) ? undefined : workers.byId(id);
        if (upstream === undefined) return undefined;
        return { status: workers.statusOf(upstream), state: upstream.record.state };
      },
      ownerOf: (key) => owners.get(key)?.worker,
      isCurrent(key) {
        const known = owners.get(key);
        return known !== undefined && known.change >= workers.changesAt(known.worker);
      },
      isAbsent: (key) => lookups.isAbsent(key),
      candidates: (key) => view.ring.candidates(key),
      workers: () => workers.upstreams,
      isLeased,
      random,
    };
  }

  // --- owners ---

  /**
   * Caches that `worker` owns the session `key` in `epoch`, as a worker reported. A lower epoch never replaces a higher
   * one.
   */
  learn(key: SessionKey, worker: WorkerId, epoch: number): void {
    this.#lookups.forgetAbsent(key);
    this.#owners.set(key, worker, epoch);
  }

  /** Drops the cached owner of `key`: it was wrong, or is about to change. */
  forget(key: SessionKey): void {
    this.#lookups.forgetAbsent(key);
    this.#owners.delete(key);
  }

  /** Whether the session is known to be at another worker than `upstream`, in a higher epoch. */
  isOutdated(key: SessionKey, upstream: Upstream, epoch: number): boolean {
    const known = this.#owners.get(key);
    if (known === undefined || known.epoch <= epoch) return false;
    return this.#workers.byId(known.worker) !== upstream;
  }

  /** The newest cached owners, for a snapshot. */
  newestOwners(max: number): readonly (readonly [SessionKey, Owner])[] {
    return this.#owners.newest(max);
  }

  /** Counts changes of the owner cache. */
  get ownersRevision(): number {
    return this.#owners.revision;
  }

  #noteMoved(key: SessionKey, from: WorkerId | undefined, to: WorkerId, epoch: number): void {
    this.#deps.onEpoch(key, epoch, this.#workers.byId(to));
    if (from === undefined || from === to) return;
    this.#deps.counters.count("balancer.moved");
    this.#workers.byId(from)?.noteTakenOver();
  }

  // --- workers ---

  /** Undefined: no such worker is known. */
  byId(id: WorkerId): Upstream | undefined {
    return this.#workers.byId(id);
  }

  statusOfWorker(upstream: Upstream): WorkerStatus {
    return this.#workers.statusOf(upstream);
  }

  /** Number of workers that can take new sessions. */
  get usable(): number {
    return this.#workers.usable;
  }

  get upstreams(): readonly Upstream[] {
    return this.#workers.upstreams;
  }

  /** Workers whose lease expired, the latest at the end, until they return. */
  get gone(): readonly Gone[] {
    return this.#workers.gone;
  }

  /** Whether probes are ignored now (`isPanic`). */
  get isPanicking(): boolean {
    return this.#workers.isPanicking;
  }

  close(): void {
    this.#workers.close();
  }
}
