/**
 * The workers that this balancer routes to: one upstream for each worker of the membership, the workers whose lease
 * expired, and whether probes are ignored now.
 */
import { BoundedMap } from "../../shared/base/bounded.ts";
import type { Clock } from "../../shared/base/clock.ts";
import type { Incarnation, WorkerId } from "../../shared/base/ids.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { WorkerRecord } from "../../shared/store/member.ts";
import { isPanic, statusOfWorker, type WorkerStatus } from "../upstreams/health.ts";
import type { Upstream } from "../upstreams/upstream.ts";

/** A worker whose lease expired. */
export interface Gone {
  readonly id: WorkerId;
  readonly incarnation: Incarnation;
  /** Monotonic. */
  readonly atMs: number;
}

export interface WorkersDeps {
  readonly view: {
    readonly workers: readonly WorkerRecord[];
    /** Returns a function that stops the calls. */
    onChange(listener: () => void): () => void;
  };
  readonly clock: Clock;
  readonly log: Log;
  /** The upstream calls `onHealth` after each change of its health. */
  readonly createUpstream: (record: WorkerRecord, onHealth: () => void) => Upstream;
  /**
   * Whether workers have a lease and report their load, as those of a store do. If not, an unresponsive worker cannot be
   * presumed alive, and no worker is capped.
   */
  readonly isLeased: boolean;
}

/** Entries of `gone`. */
const MAX_GONE = 50;

export class Workers {
  readonly #deps: WorkersDeps;
  readonly #upstreamsById = new Map<WorkerId, Upstream>();
  /** The same as a list, made when it is first asked for after a change. */
  #upstreams: readonly Upstream[] | undefined;
  readonly #gone = new BoundedMap<WorkerId, Gone>(MAX_GONE);
  readonly #changesById = new Map<WorkerId, number>();
  readonly #stopFollowing: () => void;
  #changes = 0;
  #isPanicking = false;

  constructor(deps: WorkersDeps) {
    this.#deps = deps;
    this.#stopFollowing = deps.view.onChange(() => this.#follow());
    this.#follow();
  }

  byId(id: WorkerId): Upstream | undefined {
    return this.#upstreamsById.get(id);
  }

  get upstreams(): readonly Upstream[] {
    this.#upstreams ??= [...this.#upstreamsById.values()];
    return this.#upstreams;
  }

  /** Number of workers that can take new sessions. */
  get usable(): number {
    let usable = 0;
    for (const upstream of this.#upstreamsById.values()) {
      if (upstream.record.state === "up" && this.statusOf(upstream) === "healthy") usable++;
    }
    return usable;
  }

  /** The latest at the end, until they return. */
  get gone(): readonly Gone[] {
    return [...this.#gone.values()];
  }

  /** Counts returns of workers in another incarnation. */
  get changes(): number {
    return this.#changes;
  }

  /** `changes` at the last such return of the worker; 0 if there was none. */
  changesAt(id: WorkerId): number {
    return this.#changesById.get(id) ?? 0;
  }

  /** Whether probes are ignored now (`isPanic`). */
  get isPanicking(): boolean {
    return this.#isPanicking;
  }

  statusOf(upstream: Upstream): WorkerStatus {
    return statusOfWorker(upstream.health, this.#isPanicking);
  }

  close(): void {
    this.#stopFollowing();
    for (const upstream of this.#upstreamsById.values()) upstream.close();
    this.#upstreamsById.clear();
    this.#upstreams = undefined;
  }

  /** Makes the upstreams match the membership. */
  #follow(): void {
    const present = new Set<WorkerId>();
    for (const record of this.#deps.view.workers) {
      present.add(record.id);
      const upstream = this.#upstreamsById.get(record.id);
      if (upstream?.isSame(record) === true) upstream.update(record);
      else this.#replace(upstream, record);
    }
    for (const [id, upstream] of this.#upstreamsById) {
      if (present.has(id)) continue;
      this.#upstreamsById.delete(id);
      this.#upstreams = undefined;
      this.#noteGone(upstream);
      upstream.retire();
    }
    this.#updatePanic();
  }

  #replace(upstream: Upstream | undefined, record: WorkerRecord): void {
    const { id, incarnation } = record;
    const before = upstream?.record.incarnation ?? this.#gone.get(id)?.incarnation;
    if (before !== undefined && before !== incarnation) this.#changesById.set(id, ++this.#changes);
    this.#gone.delete(id);
    upstream?.retire();
    this.#upstreamsById.set(
      id,
      this.#deps.createUpstream(record, () => this.#updatePanic()),
    );
    this.#upstreams = undefined;
  }

  #noteGone({ id, record }: Upstream): void {
    this.#gone.set(id, { id, incarnation: record.incarnation, atMs: this.#deps.clock.nowMs() });
  }

  /** Called after each change of the workers or of their health. */
  #updatePanic(): void {
    const { isLeased, log } = this.#deps;
    const before = this.#isPanicking;
    this.#isPanicking = isLeased && isPanic(this.upstreams.map((upstream) => upstream.health));
    if (this.#isPanicking === before) return;
    const workers = this.#upstreamsById.size;
    if (this.#isPanicking)
      log.error(
        { workers },
        "most workers fail probes while their leases are valid: ignoring probes, check this balancer's network",
      );
    else log.info({ workers }, "workers respond to probes again: no longer ignoring them");
  }
}
