/**
 * Takes over abandoned sessions, so that no record stays indefinitely: those that the store assigned to this worker in a
 * response that was lost, and, on the elected reaper, those of owners that are gone and that no client has claimed from
 * another worker. A session that is taken over closes when no peer comes back within 30 s.
 */
import type { Clock } from "../../shared/base/clock.ts";
import { concurrently } from "../../shared/base/concurrently.ts";
import type { SessionId, WorkerId } from "../../shared/base/ids.ts";
import { startPeriodicTask } from "../../shared/base/periodic-task.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { LeaderElection } from "../../shared/membership/leader-election.ts";
import {
  type MissingOwners,
  ownersToReap,
  recordMissing,
} from "../../shared/membership/missing-owners.ts";
import type { Deferring, Store } from "../../shared/store/store.ts";
import { reportUnlessAway } from "../../shared/store/unless-away.ts";
import type { Registry } from "./registry.ts";

const PERIOD_MS = 2000;
/** A worker with many sessions should not list them in every round. */
const ROUNDS_PER_OWN_SESSIONS = 5;
/** Sessions taken over in one round: each costs the store a few calls, and other work must get through. */
const BATCH = 100;
const CONCURRENCY = 8;

export function startReaper(deps: {
  readonly store: Pick<Store, "sessionsOf"> & Deferring<"owners" | "members" | "sessionsOf">;
  /** The election for the role `reaper`. */
  readonly leadership: Pick<LeaderElection, "isLeading">;
  readonly clock: Clock;
  readonly log: Log;
  readonly self: WorkerId;
  readonly registry: Pick<Registry, "claim" | "knows">;
}) {
  const { store, clock, log, registry, leadership } = deps;
  let missing: MissingOwners = new Map();
  let isClosed = false;
  let rounds = 0;

  async function runRound(): Promise<void> {
    if (rounds++ % ROUNDS_PER_OWN_SESSIONS === 0) {
      await takeOver(await store.deferred.sessionsOf(deps.self));
    }
    if (!leadership.isLeading) {
      missing = new Map();
      return;
    }
    const [owners, { members, booted }] = await Promise.all([
      store.deferred.owners(),
      store.deferred.members(),
    ]);
    const alive = new Set(members.map(({ id }) => id));
    missing = recordMissing(missing, { owners, alive, booted, nowMs: clock.nowMs() });
    for (const owner of ownersToReap(missing, clock.nowMs())) {
      const ids = await store.sessionsOf(owner);
      if (!leadership.isLeading) return;
      log.warn(
        { owner, sessions: ids.length },
        "taking over the sessions of a worker that is gone",
      );
      await takeOver(ids);
    }
  }

  async function takeOver(ids: readonly SessionId[]): Promise<void> {
    const left = ids.filter((id) => !registry.knows(id)).slice(0, BATCH);
    await concurrently(left, CONCURRENCY, async (id) => {
      if (!isClosed) await registry.claim(id);
    });
  }

  const reaping = startPeriodicTask({
    clock,
    periodMs: PERIOD_MS,
    work: runRound,
    onError: reportUnlessAway(log, "taking over abandoned sessions failed"),
  });

  return {
    close(): void {
      isClosed = true;
      reaping.close();
    },
  };
}
