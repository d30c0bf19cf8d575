/**
 * Finds out whether this worker serves a session, for a client that asks for it. A session that is not here is resumed
 * from the store if this worker may own it, which may need evidence that its owner is gone.
 */
import { BoundedMap } from "../../shared/base/bounded.ts";
import { type Clock, sleep } from "../../shared/base/clock.ts";
import type { Incarnation, SessionId, WorkerId } from "../../shared/base/ids.ts";
import { oneFlightPerKey } from "../../shared/base/one-flight.ts";
import type { Log } from "../../shared/logs/log.ts";
import { type ClaimStep, decideClaim } from "../../shared/membership/claim.ts";
import { countRenamed } from "../../shared/metrics/former-tags.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import {
  type ResumeOutcome,
  type SessionRecord,
  type Store,
  StoreAwayError,
} from "../../shared/store/store.ts";
import type { OwnerProbe } from "./owner-probe.ts";
import type { HandoverInbox } from "./pending-messages.ts";
import { Session } from "./session.ts";
import { shortId } from "./session-ownership.ts";

export type Claim =
  | { readonly outcome: "here"; readonly session: Session }
  | { readonly outcome: "elsewhere"; readonly owner: WorkerId; readonly epoch: number }
  | { readonly outcome: "undecided" }
  | { readonly outcome: "closed" }
  | { readonly outcome: "unknown" };

export interface Patience {
  readonly forMs: number;
  readonly isWanted: () => boolean;
}

export type Claims = ReturnType<typeof createClaims>;

export interface ClaimsDeps {
  readonly store: Pick<Store, "resumeSession">;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly self: { readonly id: WorkerId; readonly incarnation: Incarnation };
  readonly owners: Pick<OwnerProbe, "look">;
  readonly handoverInbox: Pick<HandoverInbox, "take">;
  readonly sessions: ReadonlyMap<SessionId, Session>;
  /** Adds a session to them, not started yet. */
  readonly add: (record: SessionRecord) => Session;
  /** Whether the registry is closed: nothing is resumed any more. */
  readonly isClosed: () => boolean;
}

/** How long the store's `unknown` or `closed` is cached. */
const NEGATIVE_MS = 1000;
/** Cached answers at a time; beyond it all are dropped. */
const MAX_NEGATIVES = 10_000;
const STORE_RETRY_MS = 1000;
/** Between two attempts at a session whose take-over is undecided. */
const UNDECIDED_RETRY_MS = 250;

export function createClaims(deps: ClaimsDeps) {
  const { store, clock, log, counters, self, sessions } = deps;
  const negatives = new BoundedMap<SessionId, { readonly claim: Claim; readonly untilMs: number }>(
    MAX_NEGATIVES,
  );

  /** See `Registry.claim`. */
  async function claim(id: SessionId): Promise<Claim> {
    const session = sessions.get(id);
    if (session !== undefined) {
      if (!session.isLive) return { outcome: "closed" };
      if (session.isHeld || (await session.confirm()) === "held") {
        return { outcome: "here", session };
      }
    }
    const negative = negatives.get(id);
    if (negative !== undefined && negative.untilMs > clock.nowMs()) return negative.claim;
    const resumed = await resume(id);
    if (!(resumed instanceof Session)) return resumed;
    resumed.start();
    return { outcome: "here", session: resumed };
  }

  /** See `Registry.claimPatiently`. */
  async function claimPatiently(id: SessionId, { forMs, isWanted }: Patience): Promise<Claim> {
    const untilMs = clock.nowMs() + forMs;
    let isFirst = true;
    for (;;) {
      let retryMs = UNDECIDED_RETRY_MS;
      try {
        const claimed = await claim(id);
        if (claimed.outcome !== "undecided") return claimed;
      } catch (error) {
        if (!(error instanceof StoreAwayError)) throw error;
        retryMs = STORE_RETRY_MS;
      }
      if (isFirst) counters.count("worker.claims_parked");
      isFirst = false;
      if (deps.isClosed() || clock.nowMs() + retryMs >= untilMs || !isWanted()) {
        return { outcome: "undecided" };
      }
      await sleep(clock, retryMs);
    }
  }

  const resume = oneFlightPerKey(async (id: SessionId): Promise<Session | Claim> => {
    const startMs = clock.nowMs();
    const { resumed, step } = await requestOwnership(id);
    if (step === "redirect" && resumed.outcome === "elsewhere") return resumed;
    if (step === "wait") return { outcome: "undecided" };
    if (resumed.outcome !== "owned" || deps.isClosed()) {
      return cacheNegative(id, resumed.outcome === "closed" ? "closed" : "unknown");
    }
    const { record, cause } = resumed;
    negatives.delete(id);
    const session = deps.add(record);
    // At once: peers may return while the rest is restored, and their entries follow this one.
    session.diary.moved(cause, record.peers.length);
    const pendingMessages = deps.handoverInbox.take(id, record.epoch);
    if (pendingMessages !== undefined && cause === "handed") session.unpack(pendingMessages);
    await session.restoreJoins();
    const tag = cause === "lease-gone" ? "lease-expired" : cause;
    countRenamed(counters, "worker.sessions_resumed", tag);
    counters.observe("worker.resume_ms", clock.nowMs() - startMs);
    log.info({ session: shortId(id), cause, peers: record.peers.length }, "session resumed");
    return session;
  });

  /** The store's response and what follows from it. A port that refuses connections is evidence that its owner is gone. */
  async function requestOwnership(
    id: SessionId,
  ): Promise<{ resumed: ResumeOutcome; step: ClaimStep }> {
    const claimant = { sessionId: id, worker: self.id, incarnation: self.incarnation };
    const resumed = await store.resumeSession(claimant);
    if (resumed.outcome !== "elsewhere") {
      return { resumed, step: decideClaim(resumed.outcome, "silent") };
    }
    const { seen, evidence, incarnation } = await deps.owners.look(resumed.owner);
    const step = decideClaim("elsewhere", seen);
    if (step !== "insist") return { resumed, step };
    if (evidence === undefined || incarnation === undefined) return { resumed, step: "wait" };
    const insisted = await store.resumeSession({ ...claimant, evidence, evidenceOf: incarnation });
    return { resumed: insisted, step: decideClaim(insisted.outcome, "silent") };
  }

  function cacheNegative(id: SessionId, outcome: "closed" | "unknown"): Claim {
    const negative: Claim = { outcome };
    negatives.set(id, { claim: negative, untilMs: clock.nowMs() + NEGATIVE_MS });
    return negative;
  }

  return {
    claim,
    claimPatiently,
    /** Resumes a session from the store, not started yet; or the reason why not. Concurrent calls share one attempt. */
    resume,
    /** Answers claims for a session that has just closed here. */
    noteClosed: (id: SessionId): void => void cacheNegative(id, "closed"),
  };
}
