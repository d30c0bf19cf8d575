/**
 * Reports on the store from the balancers' probes. A worker that does not reach the store cannot tell alone whether the store
 * is away or only this worker is cut off. When every balancer heard reports the store as away, no other worker can be taking
 * its sessions over. The decision is pure: `isStoreAwayForAll`.
 */
import type { Clock } from "../../shared/base/clock.ts";
import type { WorkerId } from "../../shared/base/ids.ts";

export type OutageReports = ReturnType<typeof createOutageReports>;

export type StoreSeen = "up" | "away";

/** The latest report of one balancer. `atMs`: by this process's monotonic clock. */
export interface OutageReport {
  readonly store: StoreSeen;
  readonly atMs: number;
}

/**
 * Reports older than this do not count: balancers probe every second, so the balancer is gone or cut off from here. Three
 * probes may be lost or late.
 */
export const REPORT_MS = 3500;
/** Reports that are kept. Their senders know the secret, so this bounds a mistake, not an attack. */
const MAX_BALANCERS = 1000;

/**
 * Whether all reports of the last `REPORT_MS` say that the store is away. False without any: a worker that hears no balancer
 * may be the one that is cut off. After this process was suspended for a while, its earlier reports are too old.
 */
export function isStoreAwayForAll(reports: Iterable<OutageReport>, nowMs: number): boolean {
  let heard = false;
  for (const { store, atMs } of reports) {
    if (nowMs - atMs > REPORT_MS) continue;
    if (store === "up") return false;
    heard = true;
  }
  return heard;
}

export function createOutageReports(clock: Pick<Clock, "nowMs">) {
  /** The balancer heard longest ago first. */
  const reports = new Map<WorkerId, OutageReport>();

  return {
    /** Records the report of an authenticated balancer. */
    note(balancer: WorkerId, store: StoreSeen): void {
      const nowMs = clock.nowMs();
      reports.delete(balancer);
      reports.set(balancer, { store, atMs: nowMs });
      for (const [oldest, { atMs }] of reports) {
        if (reports.size <= MAX_BALANCERS && nowMs - atMs <= REPORT_MS) break;
        reports.delete(oldest);
      }
    },
    /** Whether every balancer heard within `REPORT_MS` reports the store as away. */
    get isStoreAwayForAll(): boolean {
      return isStoreAwayForAll(reports.values(), clock.nowMs());
    },
  };
}
