/**
 * What the balancers say about the store, with each of their probes: a worker that does not reach the store itself cannot
 * tell alone whether the store is away or only it is cut off. When every balancer that it hears says that the store is
 * away, nobody can be taking its sessions over. The question is pure: `isStoreAwayForAll`.
 */
import type { Clock } from "../../shared/base/clock.ts";
import type { WorkerId } from "../../shared/base/ids.ts";

export interface OutageReports {
  /** A balancer that proved to be one has just said how it finds the store. */
  note(balancer: WorkerId, store: StoreSeen): void;
  /** Whether every balancer heard within `REPORT_MS` says that the store is away. */
  readonly isStoreAwayForAll: boolean;
}

export type StoreSeen = "up" | "away";

/** The last word of one balancer. `atMs`: by this process's own monotonic clock. */
export interface Word {
  readonly store: StoreSeen;
  readonly atMs: number;
}

/**
 * A balancer that has not been heard for so long is not counted: balancers ask each second, so it is gone, or cut off
 * from here; three of its questions may be lost or late.
 */
export const REPORT_MS = 3500;
/** Words that are kept. Only who knows the secret is heard, so this bounds a mistake, not an attack. */
const MAX_BALANCERS = 1000;

/**
 * Whether every balancer heard at `nowMs` or up to `REPORT_MS` before says that the store is away. False when none was
 * heard: a worker that hears nobody may well be the one that is cut off. After this process was stopped for a while, what
 * it heard before is too old.
 */
export function isStoreAwayForAll(words: Iterable<Word>, nowMs: number): boolean {
  let heard = false;
  for (const { store, atMs } of words) {
    if (nowMs - atMs > REPORT_MS) continue;
    if (store === "up") return false;
    heard = true;
  }
  return heard;
}

export function createOutageReports(clock: Pick<Clock, "nowMs">): OutageReports {
  /** The one that was heard longest ago first. */
  const words = new Map<WorkerId, Word>();

  return {
    note(balancer, store) {
      const nowMs = clock.nowMs();
      words.delete(balancer);
      words.set(balancer, { store, atMs: nowMs });
      for (const [oldest, { atMs }] of words) {
        if (words.size <= MAX_BALANCERS && nowMs - atMs <= REPORT_MS) break;
        words.delete(oldest);
      }
    },
    get isStoreAwayForAll() {
      return isStoreAwayForAll(words.values(), clock.nowMs());
    },
  };
}
