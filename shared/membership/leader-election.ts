/**
 * A member that stands for a role (`Store.lead`), so that of all members one at a time does what is to be done once. Two
 * may lead for a moment only if one was stopped in the middle of its work: that work must bear it.
 */
import type { Clock } from "../base/clock.ts";
import type { WorkerId } from "../base/ids.ts";
import type { Log } from "../logs/log.ts";
import { type Role, type Store, StoreAwayError } from "../store/store.ts";

/** A leader that has died leads nobody so much later; another one finds out within `FOLLOW_MS` more. */
export const LEADERSHIP_MS = 5000;
/** A leader asks for more time so often, */
const RENEW_MS = 1500;
/** and the others whether they may lead: every process of a cluster asks, so they shall not be a load when nothing happens. */
const FOLLOW_MS = 4500;
/** A leader stops a second before its time is over. */
const MARGIN_MS = 1000;

export interface LeaderElection {
  /** Whether this member leads now; look before each piece of work. */
  readonly isLeading: boolean;
  /** Stands no more, and gives the role back. Never rejects. */
  close(): Promise<void>;
}

export function createLeaderElection(
  role: Role,
  needs: {
    readonly store: Pick<Store, "lead" | "resign">;
    readonly clock: Clock;
    readonly log: Log;
    readonly holder: WorkerId;
  },
): LeaderElection {
  const { store, clock, holder } = needs;
  let leadsUntilMs = Number.NEGATIVE_INFINITY;
  let asking: Promise<void> | undefined;
  let isClosed = false;

  async function ask(): Promise<void> {
    // Measured from the sending: the store counts from its receipt, which is later.
    const sentMs = clock.nowMs();
    try {
      const answer = await store.lead(role, holder, LEADERSHIP_MS);
      leadsUntilMs =
        answer === "leading" ? sentMs + LEADERSHIP_MS - MARGIN_MS : Number.NEGATIVE_INFINITY;
    } catch (error) {
      if (!(error instanceof StoreAwayError)) {
        needs.log.error({ role, err: error }, "leader election failed");
      }
    }
  }

  let ticks = 0;
  function askInTime(): void {
    const isDue = ticks++ % (FOLLOW_MS / RENEW_MS) === 0 || leadsUntilMs > clock.nowMs();
    if (!isDue) return;
    asking ??= ask().finally(() => {
      asking = undefined;
    });
  }

  askInTime();
  const timer = clock.every(RENEW_MS, askInTime);

  return {
    get isLeading() {
      return !isClosed && clock.nowMs() < leadsUntilMs;
    },
    async close() {
      isClosed = true;
      timer.cancel();
      await asking;
      try {
        await store.resign(role, holder);
      } catch (error) {
        needs.log.debug({ role, err: error }, "role not released; it expires by itself");
      }
    },
  };
}
