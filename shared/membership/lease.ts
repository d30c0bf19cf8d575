/**
 * A process keeps its record in the store: announces itself, renews its lease with every beat, and takes the record out
 * when it ends. When the store is away it goes on trying; when it comes back, the next beat comes at once.
 */
import { type Clock, sleep, type Timer } from "../base/clock.ts";
import type { Log } from "../logs/log.ts";
import type { MemberRecord } from "../store/member.ts";
import { HEARTBEAT_MS, type Store, StoreAwayError } from "../store/store.ts";

/** How long `close` waits for the store to take the record out; the lease ends anyway. */
const WITHDRAW_TIMEOUT_MS = 1000;

export interface Lease {
  /**
   * Announces the member and keeps its lease from then on. Resolves when it is announced for the first time, which may
   * take as long as the store is away, or when the lease is closed.
   */
  start(): Promise<void>;
  /**
   * Renews at once, because the record has changed. Resolves after a renewal that began after this call; with the store
   * away it resolves as well, and the record goes out with a later beat.
   */
  refresh(): Promise<void>;
  /** Stops renewing and takes the record out. Bounded in time, never rejects. */
  close(): Promise<void>;
  /**
   * When the last beat that succeeded was sent, on the monotonic clock; -Infinity before the first. The lease holds at
   * least until `MEMBER_LEASE_MS` after it.
   */
  readonly lastRenewalSentMs: number;
}

export function createLease(needs: {
  readonly store: Pick<Store, "announce" | "renew" | "withdraw" | "onHealth">;
  readonly clock: Clock;
  readonly log: Log;
  /** The record as of now. Its id and incarnation never change. */
  readonly describe: () => MemberRecord;
  /**
   * Called when a beat has succeeded, before `lastRenewalSentMs` is the time of that beat. `expired`: the lease had run out
   * before it, so others may have acted on that.
   */
  readonly onHeartbeat?: (heartbeat: {
    readonly sentMs: number;
    readonly expired: boolean;
  }) => void;
  /** Called once when another incarnation of the same id has announced itself: this process is no member any more. */
  readonly onReplaced: () => void;
}): Lease {
  const { store, clock, log } = needs;
  let state: "new" | "announcing" | "held" | "replaced" | "closed" = "new";
  let lastRenewalSentMs = Number.NEGATIVE_INFINITY;
  let isFailing = false;
  /** The beat under way, and the one that must follow it because the record changed meanwhile. */
  let running: Promise<void> | undefined;
  let following: Promise<void> | undefined;
  let nextHeartbeat: Timer | undefined;
  let stopListening: (() => void) | undefined;
  let markStarted = (): void => {};
  const started = new Promise<void>((resolve) => {
    markStarted = resolve;
  });

  /** One beat after the one under way, however many ask for it: beats never overlap. */
  function heartbeat(): Promise<void> {
    if (running === undefined) {
      running = runHeartbeat().finally(() => {
        running = undefined;
      });
      return running;
    }
    following ??= running.then(() => {
      following = undefined;
      return heartbeat();
    });
    return following;
  }

  async function runHeartbeat(): Promise<void> {
    if (isOver()) return;
    nextHeartbeat?.cancel();
    const sentMs = clock.nowMs();
    try {
      await sendHeartbeat(sentMs);
      if (isFailing) log.info("lease renewed again");
      isFailing = false;
    } catch (error) {
      if (!isFailing) reportFailure(error);
      isFailing = true;
    }
    if (isOver()) return;
    const restMs = Math.max(0, sentMs + HEARTBEAT_MS - clock.nowMs());
    nextHeartbeat = clock.after(restMs, heartbeatUnwatched);
    if (state === "held") markStarted();
  }

  async function sendHeartbeat(sentMs: number): Promise<void> {
    const member = needs.describe();
    const outcome = state === "announcing" ? "expired" : await store.renew(member);
    if (isOver()) return;
    if (outcome === "replaced") {
      end("replaced");
      log.error(
        { memberId: member.id, incarnation: member.incarnation },
        "another process has announced itself under the same id; this process exits. To run both, give each its own CT_WORKER_ID",
      );
      needs.onReplaced();
      return;
    }
    if (outcome === "expired") {
      if (state === "held") log.warn({ memberId: member.id }, "lease expired, announcing again");
      await store.announce(member);
      if (state === "announcing") state = "held";
    }
    const expired = outcome === "expired" && lastRenewalSentMs !== Number.NEGATIVE_INFINITY;
    needs.onHeartbeat?.({ sentMs, expired });
    lastRenewalSentMs = sentMs;
  }

  /** For timers and listeners; `runHeartbeat` reports its failures itself. */
  function heartbeatUnwatched(): void {
    void heartbeat();
  }

  function reportFailure(error: unknown): void {
    if (error instanceof StoreAwayError) log.warn({ err: error }, "cannot renew the lease");
    else log.error({ err: error }, "cannot renew the lease");
  }

  function isOver(): boolean {
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
      if (state !== "new" && !isOver()) await heartbeat();
    },
    async close() {
      const wasMember = state === "announcing" || state === "held";
      if (state !== "replaced") end("closed");
      if (!wasMember) return;
      const { id, incarnation } = needs.describe();
      const gone = async (): Promise<void> => {
        // A beat under way could put the record back after it was taken out.
        await running;
        await store.withdraw(id, incarnation);
      };
      await Promise.race([
        gone().catch((error: unknown) => {
          log.debug({ err: error }, "record not removed; its lease will expire");
        }),
        sleep(clock, WITHDRAW_TIMEOUT_MS),
      ]);
    },
  };
}
