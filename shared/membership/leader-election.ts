/**
 * Leader election for a role (`Store.lead`), so that one member at a time does its job. Two may lead for a moment, if one
 * was stopped in the middle of its work: the job must tolerate that.
 */
import type { Clock } from "../base/clock.ts";
import type { WorkerId } from "../base/ids.ts";
import { startPeriodicTask } from "../base/periodic-task.ts";
import type { Log } from "../logs/log.ts";
import type { Deferring, Role, Store } from "../store/store.ts";
import { reportUnlessAway } from "../store/unless-away.ts";

/** The role of a dead leader expires after this long; another member takes it within `FOLLOW_MS` and a heartbeat more. */
export const LEADERSHIP_MS = 5000;
/** Interval at which a leader renews its role. */
const RENEW_MS = 1500;
/** Interval at which followers try to lead: rare, because every process of a cluster does so. */
const FOLLOW_MS = 4500;
/** A leader stops this long before its role expires. */
const MARGIN_MS = 1000;

export interface LeaderElection {
  /** Whether this member leads now; check before each job. */
  readonly isLeading: boolean;
  /** Leaves the election and releases the role. Never rejects. */
  close(): Promise<void>;
}

export function createLeaderElection(
  role: Role,
  deps: {
    readonly store: Pick<Store, "lead"> & Deferring<"lead">;
    readonly clock: Clock;
    readonly log: Log;
    readonly holder: WorkerId;
  },
): LeaderElection {
  const { store, clock, holder } = deps;
  let leadsUntilMs = Number.NEGATIVE_INFINITY;
  let isClosed = false;

  async function campaign(): Promise<void> {
    // Counted from now: the store counts from the receipt, which is later.
    const sentMs = clock.nowMs();
    const outcome = await store.deferred.lead(role, holder, LEADERSHIP_MS);
    leadsUntilMs =
      outcome === "leading" ? sentMs + LEADERSHIP_MS - MARGIN_MS : Number.NEGATIVE_INFINITY;
  }

  let triedMs = Number.NEGATIVE_INFINITY;
  function campaignIfDue(): Promise<void> | undefined {
    const nowMs = clock.nowMs();
    // Half a period less, because timers are not exact.
    const isDue = nowMs - triedMs > FOLLOW_MS - RENEW_MS / 2 || leadsUntilMs > nowMs;
    if (!isDue) return undefined;
    triedMs = nowMs;
    return campaign();
  }

  const campaigns = startPeriodicTask({
    clock,
    periodMs: RENEW_MS,
    startsNow: true,
    work: campaignIfDue,
    onError: reportUnlessAway(deps.log, "leader election failed", { role }),
  });

  return {
    get isLeading() {
      return !isClosed && clock.nowMs() < leadsUntilMs;
    },
    async close() {
      isClosed = true;
      campaigns.close();
      // Otherwise it could take the role after its release.
      await campaigns.settled();
      try {
        await store.lead(role, holder, 0);
      } catch (error) {
        deps.log.debug({ role, err: error }, "role not released; it expires by itself");
      }
    },
  };
}
