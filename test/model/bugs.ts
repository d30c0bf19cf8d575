/**
 * Bugs for the model to find: each is one decision gone wrong, put in the place of the real one by model.test.ts. They show
 * that the model bites, and which invariant sees what.
 */

import type * as Leases from "../../shared/store/embedded/state/leases.ts";
import type * as Sessions from "../../shared/store/embedded/state/sessions.ts";
import type * as Ownership from "../../shared/store/ownership.ts";
import type * as FenceModule from "../../worker/sessions/fence.ts";
import type { Invariant } from "./watch.ts";

/** Each bug, and the invariants by which it may be found. */
export const BUGS = {
  "a restarted worker keeps the epoch of its sessions": ["robbed", "two owners"],
  "a session is taken over half a lease after the last heartbeat": ["robbed"],
  "a reassertion counts although a higher epoch is stored": [
    "older owner",
    "epoch fell",
    "not served",
  ],
  "a renewal compares the id only": ["two lives"],
  "a worker checks its fence by a timer only": ["older owner"],
  "no reaper is elected for abandoned sessions": ["left behind"],
  "tombstones never expire": ["left behind"],
} as const satisfies Record<string, readonly Invariant[]>;

export type Bug = keyof typeof BUGS;

let current: Bug | undefined;

/** Runs `run` with `bug` in the edge. */
export async function withBug<T>(bug: Bug, run: () => Promise<T>): Promise<T> {
  current = bug;
  try {
    return await run();
  } finally {
    current = undefined;
  }
}

// --- the real modules, with the bug of the moment ---

export function ownershipWithBugs(real: typeof Ownership): typeof Ownership {
  return {
    ...real,
    decideResume(record, claimant, leases) {
      const decision = real.decideResume(record, claimant, leases);
      if (
        current === "a restarted worker keeps the epoch of its sessions" &&
        decision.verdict === "own" &&
        decision.cause === "restarted"
      ) {
        return { ...decision, raise: false };
      }
      if (
        current === "a session is taken over half a lease after the last heartbeat" &&
        decision.verdict === "elsewhere" &&
        leases.holder.state === "held" &&
        leases.holder.sinceLastHeartbeatMs >= real.REFUSED_HEARTBEAT_AGE_MS
      ) {
        return { verdict: "own", cause: "lease-gone", raise: true };
      }
      return decision;
    },
    decideReassert(known, asserted, lease) {
      return current === "a reassertion counts although a higher epoch is stored"
        ? "written"
        : real.decideReassert(known, asserted, lease);
    },
  };
}

export function leasesWithBugs(real: typeof Leases): typeof Leases {
  return {
    ...real,
    createLeases(effects, startedMs) {
      const leases = real.createLeases(effects, startedMs);
      const { operations } = leases;
      return {
        ...leases,
        operations: {
          ...operations,
          renew(now, member) {
            const outcome = operations.renew(now, member);
            if (current !== "a renewal compares the id only") return outcome;
            return outcome === "replaced" ? "renewed" : outcome;
          },
          lead(now, role, holder, ttlMs) {
            if (current === "no reaper is elected for abandoned sessions") {
              return "following";
            }
            return operations.lead(now, role, holder, ttlMs);
          },
        },
      };
    },
  };
}

export function sessionsWithBugs(real: typeof Sessions): typeof Sessions {
  return {
    ...real,
    createSessions(effects, leases, onOpened) {
      const sessions = real.createSessions(effects, leases, onOpened);
      const { operations } = sessions;
      return {
        ...sessions,
        operations: {
          ...operations,
          changeSession(now, holder, change) {
            const isEndless = current === "tombstones never expire" && change.kind === "close";
            const untilMs = Number.MAX_SAFE_INTEGER;
            return operations.changeSession(
              now,
              holder,
              isEndless ? { ...change, untilMs } : change,
            );
          },
        },
      };
    },
  };
}

export function fenceWithBugs(real: typeof FenceModule): typeof FenceModule {
  return {
    ...real,
    createFence(needs) {
      const fence = real.createFence(needs);
      let state: FenceModule.FenceState = "open";
      needs.clock.every(250, () => {
        state = fence.look();
      });
      return {
        ...fence,
        look: () =>
          current === "a worker checks its fence by a timer only" ? state : fence.look(),
        noteHeartbeat(heartbeat) {
          state = "open";
          return fence.noteHeartbeat(heartbeat);
        },
      };
    },
  };
}
