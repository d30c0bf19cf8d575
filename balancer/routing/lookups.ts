/**
 * Asks the store for the owners of sessions: one look-up per key at a time, within a budget of time, and not again for a
 * second after the store had no session for a key. Owners go to the owner cache.
 */
import { BoundedMap } from "../../shared/base/bounded.ts";
import type { Clock } from "../../shared/base/clock.ts";
import { copyOf, type SessionKey } from "../../shared/base/ids.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import type { SessionRecord } from "../../shared/store/store.ts";
import type { Found } from "./decision.ts";
import type { OwnerCache } from "./owner-cache.ts";

export interface LookupsDeps {
  readonly store: { findSession(key: SessionKey): Promise<SessionRecord | undefined> };
  readonly owners: Pick<OwnerCache, "set">;
  readonly clock: Clock;
  readonly counters: Counters;
}

/** Longest wait of a request for the store. */
const LOOKUP_BUDGET_MS = 50;
/** How long "no such session" is cached. */
const ABSENT_MS = 1000;
const MAX_ABSENT = 10_000;
/** Concurrent look-ups; beyond them the ring decides. */
const MAX_LOOKUPS = 1000;

export class Lookups {
  readonly #deps: LookupsDeps;
  readonly #running = new Map<SessionKey, Promise<Found>>();
  readonly #absentUntilMs = new BoundedMap<SessionKey, number>(MAX_ABSENT);

  constructor(deps: LookupsDeps) {
    this.#deps = deps;
  }

  /** Takes at most `LOOKUP_BUDGET_MS` and never rejects; a late response is still cached. */
  find(key: SessionKey): Promise<Found> {
    const running = this.#running.get(key);
    if (running !== undefined) return running;
    if (this.#running.size >= MAX_LOOKUPS) return Promise.resolve("late");
    const { clock, counters } = this.#deps;
    const answered = this.#ask(key);
    const lookup = new Promise<Found>((resolve) => {
      const budget = clock.after(LOOKUP_BUDGET_MS, () => {
        counters.count("balancer.lookups", "late");
        resolve("late");
      });
      void answered.then((found) => {
        budget.cancel();
        // It stays in the table until the store responds, so that a slow store is not asked repeatedly.
        this.#running.delete(key);
        resolve(found);
      });
    });
    this.#running.set(key, lookup);
    return lookup;
  }

  /** Whether the store said within the last second that `key` has no session. */
  isAbsent(key: SessionKey): boolean {
    const untilMs = this.#absentUntilMs.get(key);
    if (untilMs === undefined) return false;
    if (untilMs > this.#deps.clock.nowMs()) return true;
    this.#absentUntilMs.delete(key);
    return false;
  }

  /** `key` may have a session now. */
  forgetAbsent(key: SessionKey): void {
    this.#absentUntilMs.delete(key);
  }

  /** Never rejects. */
  async #ask(key: SessionKey): Promise<Found> {
    const { store, owners, counters } = this.#deps;
    let record: SessionRecord | undefined;
    try {
      record = await store.findSession(key);
    } catch {
      // The store logs its own outage; here the ring takes over.
      counters.count("balancer.lookups", "away");
      return "away";
    }
    counters.count("balancer.lookups", record === undefined ? "none" : "found");
    if (record === undefined) {
      this.#cacheAbsent(key);
      return "none";
    }
    owners.set(key, record.owner, record.epoch);
    if (key !== record.id) owners.set(record.id, record.owner, record.epoch);
    return "found";
  }

  #cacheAbsent(key: SessionKey): void {
    this.#absentUntilMs.set(copyOf(key), this.#deps.clock.nowMs() + ABSENT_MS);
  }
}
