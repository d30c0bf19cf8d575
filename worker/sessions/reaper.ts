/**
 * Looks after sessions that nobody looks after, so that no record stays for ever: those of this worker that it does not
 * know of (it was told that they are its own, and the answer was lost), and, as the elected reaper, those of owners who
 * are gone and whom no client has brought to another worker. Taken over, they are closed when nobody comes back in 30 s.
 */
import type { Clock } from "../../shared/base/clock.ts";
import type { SessionId, WorkerId } from "../../shared/base/ids.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { LeaderElection } from "../../shared/membership/leader-election.ts";
import { type MissingOwners, ownersToReap, recordMissing } from "../../shared/membership/reaper.ts";
import { type Store, StoreAwayError } from "../../shared/store/store.ts";
import type { Registry } from "./registry.ts";

export interface Reaper {
  close(): void;
}

const PERIOD_MS = 2000;
/** A worker with many sessions should not list them all the time. */
const ROUNDS_PER_OWN_LOOK = 5;
/** Sessions taken over in one go: each asks the store a few times, and others must get through. */
const BATCH = 100;
const AT_ONCE = 8;

export function startReaper(needs: {
  readonly store: Pick<Store, "owners" | "members" | "sessionsOf">;
  /** Of the role `reaper`. */
  readonly leadership: Pick<LeaderElection, "isLeading">;
  readonly clock: Clock;
  readonly log: Log;
  readonly self: WorkerId;
  readonly registry: Pick<Registry, "claim" | "knows">;
}): Reaper {
  const { store, clock, log, registry, leadership } = needs;
  let missing: MissingOwners = new Map();
  let isLooking = false;
  let isClosed = false;
  let rounds = 0;

  async function look(): Promise<void> {
    if (rounds++ % ROUNDS_PER_OWN_LOOK === 0) await takeUp(await store.sessionsOf(needs.self));
    if (!leadership.isLeading) {
      missing = new Map();
      return;
    }
    const [owners, { members, booted }] = await Promise.all([store.owners(), store.members()]);
    const alive = new Set(members.map(({ id }) => id));
    missing = recordMissing(missing, { owners, alive, booted, nowMs: clock.nowMs() });
    for (const owner of ownersToReap(missing, clock.nowMs())) {
      const ids = await store.sessionsOf(owner);
      if (!leadership.isLeading) return;
      log.warn({ owner, sessions: ids.length }, "sessions of a worker that is gone are taken over");
      await takeUp(ids);
    }
  }

  async function takeUp(ids: readonly SessionId[]): Promise<void> {
    const left = ids.filter((id) => !registry.knows(id)).slice(0, BATCH);
    async function next(): Promise<void> {
      for (let id = left.pop(); id !== undefined && !isClosed; id = left.pop()) {
        await registry.claim(id);
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, next));
  }

  function lookOnce(): void {
    if (isLooking) return;
    isLooking = true;
    look()
      .catch((error: unknown) => {
        if (!(error instanceof StoreAwayError)) log.error({ err: error }, "the reaper failed");
      })
      .finally(() => {
        isLooking = false;
      });
  }

  const timer = clock.every(PERIOD_MS, lookOnce);

  return {
    close() {
      isClosed = true;
      timer.cancel();
    },
  };
}
