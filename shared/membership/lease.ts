/**
 * Keeps the record of this process in the store: announces it, renews its lease with every heartbeat, and removes it at
 * shutdown. While the store is away it keeps trying; when the store is back, the next heartbeat follows at once.
 */
import { type Clock, sleep, type Timer } from "../base/clock.ts";
import type { Log } from "../logs/log.ts";
import type { MemberRecord } from "../store/member.ts";
import { HEARTBEAT_MS, type Store, StoreAwayError } from "../store/store.ts";

/** How long `close` waits for the store to remove the record; the lease expires anyway. */
const WITHDRAW_TIMEOUT_MS = 1000;

export interface Lease {
  /**
   * Announces the member and renews its lease from then on. Resolves after the first announcement, which waits for the
   * store, or when the lease is closed.
   */
  start(): Promise<void>;
  /**
   * Renews at once, after a change of the record. Resolves after a renewal that began after this call; while the store is
   * away it resolves too, and a later heartbeat sends the record.
   */
  refresh(): Promise<void>;
  /** Stops renewing and removes the record. Bounded in time, never rejects. */
  close(): Promise<void>;
  /**
   * When the last successful heartbeat was sent, on the monotonic clock; -Infinity before the first. The lease holds until
   * at least `MEMBER_LEASE_MS` after it.
   */
  readonly lastRenewalSentMs: number;
}

export function createLease(deps: {
  readonly store: Pick<Store, "announce" | "renew" | "withdraw" | "onHealth">;
  readonly clock: Clock;
  readonly log: Log;
  /** The present record. Its id and incarnation never change. */
  readonly describe: () => MemberRecord;
  /**
   * Called after a successful heartbeat, before `lastRenewalSentMs` changes. `expired`: the lease had expired before, so
   * other workers may have taken over sessions.
   */
  readonly onHeartbeat?: (heartbeat: {
    readonly sentMs: number;
    readonly expired: boolean;
  }) => void;
  /** Called once when another incarnation has announced the same id: this process is no longer a member. */
  readonly onReplaced: () => void;
}): Lease {
  const { store, clock, log } = deps;
  let state: "new" | "announcing" | "held" | "replaced" | "closed" = "new";
  let lastRenewalSentMs = Number.NEGATIVE_INFINITY;
  let isFailing = false;
  let nextHeartbeat: Timer | undefined;
  let stopListening: (() => void) | undefined;
  let markStarted = (): void => {};
  const started = new Promise<void>((resolve) => {
    markStarted = resolve;
  });

  const heartbeats = createSerialTask(runHeartbeat);

  async function runHeartbeat(): Promise<void> {
    if (hasEnded()) return;
    nextHeartbeat?.cancel();
    const sentMs = clock.nowMs();
    try {
      await sendHeartbeat(sentMs);
      if (isFailing) log.info("lease renewed again");
      isFailing = false;
    } catch (error) {
      if (!isFailing) reportFailure(log, error);
      isFailing = true;
    }
    if (hasEnded()) return;
    const restMs = Math.max(0, sentMs + HEARTBEAT_MS - clock.nowMs());
    nextHeartbeat = clock.after(restMs, heartbeatUnwatched);
    if (state === "held") markStarted();
  }

  async function sendHeartbeat(sentMs: number): Promise<void> {
    const member = deps.describe();
    const outcome = state === "announcing" ? "expired" : await store.renew(member);
    if (hasEnded()) return;
    if (outcome === "replaced") {
      end("replaced");
      reportReplaced(log, member);
      deps.onReplaced();
      return;
    }
    if (outcome === "expired") {
      if (state === "held") log.warn({ memberId: member.id }, "lease expired, announcing again");
      await store.announce(member);
      if (state === "announcing") state = "held";
    }
    const expired = outcome === "expired" && lastRenewalSentMs !== Number.NEGATIVE_INFINITY;
    deps.onHeartbeat?.({ sentMs, expired });
    lastRenewalSentMs = sentMs;
  }

  /** For timers and listeners; `runHeartbeat` reports its failures itself. */
  function heartbeatUnwatched(): void {
    void heartbeats.run();
  }

  function hasEnded(): boolean {
    return state === "replaced" || state === "closed";
  }

  function end(as: "replaced" | "closed"): void {
    state = as;
    nextHeartbeat?.cancel();
    stopListening?.();
    markStarted();
  }

  return {
    get lastRenewalSentMs() {
      return lastRenewalSentMs;
    },
    async start() {
      if (state === "new") {
        state = "announcing";
        stopListening = store.onHealth((health) => {
          if (health.state === "up") heartbeatUnwatched();
        });
        heartbeatUnwatched();
      }
      await started;
    },
    async refresh() {
      if (state !== "new" && !hasEnded()) await heartbeats.run();
    },
    async close() {
      const wasMember = state === "announcing" || state === "held";
      if (state !== "replaced") end("closed");
      if (!wasMember) return;
      const { id, incarnation } = deps.describe();
      const withdraw = async (): Promise<void> => {
        // A running heartbeat could write the record again after its removal.
        await heartbeats.running;
        await store.withdraw(id, incarnation);
      };
      await Promise.race([
        withdraw().catch((error: unknown) => {
          log.debug({ err: error }, "record not removed; its lease will expire");
        }),
        sleep(clock, WITHDRAW_TIMEOUT_MS),
      ]);
    },
  };
}

function reportFailure(log: Log, error: unknown): void {
  if (error instanceof StoreAwayError) log.warn({ err: error }, "cannot renew the lease");
  else log.error({ err: error }, "cannot renew the lease");
}

function reportReplaced(log: Log, { id, incarnation }: MemberRecord): void {
  log.error(
    { memberId: id, incarnation },
    "another process has announced itself under the same id; this process exits. To run both, give each its own CT_WORKER_ID",
  );
}

/** Runs `task` without overlap: all calls during a run share the next one. */
function createSerialTask(task: () => Promise<void>) {
  let running: Promise<void> | undefined;
  let following: Promise<void> | undefined;

  function run(): Promise<void> {
    if (running === undefined) {
      running = task().finally(() => {
        running = undefined;
      });
      return running;
    }
    following ??= running.then(() => {
      following = undefined;
      return run();
    });
    return following;
  }

  return {
    run,
    get running() {
      return running;
    },
  };
}
