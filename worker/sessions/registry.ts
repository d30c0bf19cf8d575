/**
 * Every session of this worker: created, claimed, resumed, forgotten.
 */
import { type Clock, sleep } from "../../shared/base/clock.ts";
import {
  type Incarnation,
  newPeerId,
  newSessionId,
  type SessionId,
  type SessionKey,
  type WorkerId,
} from "../../shared/base/ids.ts";
import type { Log } from "../../shared/logs/log.ts";
import { type ClaimStep, decideClaim } from "../../shared/membership/claim.ts";
import type { Ring } from "../../shared/membership/ring.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import { countResumed } from "../../shared/metrics/renamed-worker-tags.ts";
import type { Settings } from "../../shared/settings/read-settings.ts";
import {
  type CreateSession,
  type ResumeOutcome,
  type SessionRecord,
  type Store,
  StoreAwayError,
  type UserRecord,
} from "../../shared/store/store.ts";
import type { Tokens } from "../login/tokens.ts";
import type { Fence } from "./fence.ts";
import type { OwnerProbe } from "./owner-probe.ts";
import type { HandoverInbox } from "./pending-messages.ts";
import { label, Session, TOMBSTONE_MS } from "./session.ts";
import type { VersionCheck } from "./wire/protocol.ts";

export interface Registry {
  /**
   * At start: takes up every session that the store says this worker id owned before. Peers have 30 s from its end to
   * come back. Waits for the store when it is away.
   */
  recover(): Promise<void>;
  /**
   * A new session for `user`, with the host's room token. `alias` leads to it too, unless it belongs to another open
   * session: people who share a server URL with a key may have several sessions there. `quota`: the user has too many, or
   * too many of all wait for their host here.
   */
  create(user: UserRecord, alias?: SessionKey): Promise<Created>;
  /**
   * Whether this worker serves the session now; resumes it from the store when it may, also from an owner who is gone.
   * Never creates one. Concurrent calls for one id share one question; `unknown` and `closed` are remembered for 1 s, so
   * that floods do not reach the store. `undecided`: its owner does not answer, but may not be taken from yet; or the
   * store has just lost what it knew. Rejects with `StoreAwayError` when the session is not here and the store cannot say
   * whose it is.
   */
  claim(id: SessionId): Promise<Claim>;
  /** As `claim`, but asks again while nobody can say, for `forMs` or as long as it is wanted; then `undecided`. */
  claimPatiently(
    id: SessionId,
    patience: { readonly forMs: number; readonly isWanted: () => boolean },
  ): Promise<Claim>;
  /** Others may have this worker's sessions by now: none relays anything before it is confirmed. */
  fence(): void;
  /**
   * Asks the store about each session, whether it is still held here, and tells it what it has lost. Waits for the store;
   * a call while another one runs makes that one begin again.
   */
  confirm(): Promise<void>;
  /** Whether this worker has the session, in whatever state; asks nobody. */
  knows(id: SessionId): boolean;
  /** The session, when this worker serves it now; asks nobody. */
  live(id: SessionId): Session | undefined;
  /** Ids of the sessions that this worker serves now. */
  readonly sessionIds: readonly SessionId[];
  readonly load: { readonly sessions: number; readonly connections: number };
  /** Every session that is here, whatever its state. */
  sessions(): Iterable<Session>;
  /** Closes the peers' connections in a way that makes clients come back, and forgets all sessions; their records stay. */
  close(): Promise<void>;
}

export type Created =
  | {
      readonly outcome: "created";
      readonly sessionId: SessionId;
      readonly epoch: number;
      readonly roomToken: string;
    }
  | { readonly outcome: "quota" };

export type Claim =
  | { readonly outcome: "here"; readonly session: Session }
  | { readonly outcome: "elsewhere"; readonly owner: WorkerId; readonly epoch: number }
  | { readonly outcome: "undecided" }
  | { readonly outcome: "closed" }
  | { readonly outcome: "unknown" };

export interface RegistryNeeds {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly tokens: Tokens;
  /** Authenticates the ids of relayed requests. */
  readonly relayKey: Buffer;
  readonly settings: Pick<Settings, "maxSessionsPerUser" | "maxPeersPerSession" | "maxBufferBytes">;
  readonly acceptsVersion: VersionCheck;
  readonly self: { readonly id: WorkerId; readonly incarnation: Incarnation };
  readonly ring: () => Ring;
  readonly fence: Pick<Fence, "look" | "hold">;
  readonly owners: Pick<OwnerProbe, "look">;
  /** What came ahead of sessions that are handed over to this worker. */
  readonly handoverInbox: Pick<HandoverInbox, "take">;
}

/**
 * Ids tried until the ring gives one back to this worker. With 100 equal workers one in 100 does; beyond this many
 * tries any id is good, because the session's owner is recorded.
 */
const MAX_MINTED = 1000;
/** Sessions that wait for their host; each is forgotten after 60 s. */
const MAX_UNOPENED = 5000;
/** How long the store's `unknown` or `closed` is believed. */
const NEGATIVE_MS = 1000;
/** Answers remembered at a time; beyond it all are forgotten. */
const MAX_NEGATIVES = 10_000;
/** Sessions taken up or confirmed at a time. */
const AT_ONCE = 16;
const RETRY_MS = 1000;
/** Between two questions about a session whose take-over is not decided. */
const UNDECIDED_RETRY_MS = 250;
/** Sessions that ended here and that the store is reminded of when it has lost what it knew. */
const MAX_ENDED = 5000;

export function createRegistry(needs: RegistryNeeds): Registry {
  const { store, clock, log, counters, self, settings } = needs;
  const sessions = new Map<SessionId, Session>();
  const resumes = new Map<SessionId, Promise<Session | Claim>>();
  const negatives = new Map<SessionId, { readonly claim: Claim; readonly untilMs: number }>();
  /** Sessions that were closed here, oldest first, and when. */
  const ended = new Map<SessionId, { readonly session: Session; readonly atMs: number }>();
  let closed = false;
  let confirming: Promise<void> | undefined;
  let confirmAgain = false;

  // --- creating ---

  function mintId(): SessionId {
    const ring = needs.ring();
    let id = newSessionId();
    for (let tries = 1; tries < MAX_MINTED && ring.first(id) !== self.id; tries++) {
      id = newSessionId();
    }
    return id;
  }

  async function create(user: UserRecord, alias: SessionKey | undefined): Promise<Created> {
    if (isCrowded()) return { outcome: "quota" };
    const request: CreateSession = {
      sessionId: mintId(),
      owner: self.id,
      incarnation: self.incarnation,
      ...(alias !== undefined && { alias }),
      userId: user.id,
      maxPerUser: settings.maxSessionsPerUser,
    };
    const record = await createRecord(request);
    if (record === "quota") return { outcome: "quota" };
    const sessionId = record.id;
    const roomToken = await needs.tokens.signRoom({
      sessionId,
      clock: 0,
      peerId: newPeerId(),
      user,
      host: true,
    });
    counters.count("worker.sessions_created");
    log.info({ session: label(sessionId), user: user.name }, "session created");
    return { outcome: "created", sessionId, epoch: record.epoch, roomToken };
  }

  async function createRecord(request: CreateSession): Promise<SessionRecord | "quota"> {
    try {
      const created = await store.createSession(request);
      if (created.outcome === "exists") {
        return createRecord({ ...withoutAlias(request), sessionId: mintId() });
      }
      if (created.outcome === "quota") return "quota";
      const session = take(created.record);
      session.start();
      session.note("created", "create");
      return created.record;
    } catch (error) {
      if (!(error instanceof StoreAwayError)) throw error;
      return createWithoutStore(request);
    }
  }

  /** New sessions start also while the store is away; it hears of them when it is back. */
  function createWithoutStore(request: CreateSession): SessionRecord | "quota" {
    if (countOf(request.userId) >= settings.maxSessionsPerUser) return "quota";
    const nowMs = Math.floor(clock.wallMs());
    const { maxPerUser: _, sessionId, ...known } = request;
    const record: SessionRecord = {
      ...known,
      id: sessionId,
      epoch: nowMs,
      state: "created",
      clock: 0,
      peers: [],
      revokedTokens: [],
      createdMs: nowMs,
    };
    const session = take(record);
    session.recordLate(() => recordLate(request));
    session.start();
    session.note("created", "store away");
    return record;
  }

  async function recordLate(request: CreateSession): Promise<number | "lost"> {
    // It runs already: a quota that is full now cannot take it back.
    const late = { ...request, maxPerUser: Number.MAX_SAFE_INTEGER };
    const created = await store.createSession(late);
    if (created.outcome === "created") return created.record.epoch;
    // Perhaps an earlier try came through and only its answer did not.
    const { sessionId, owner: worker, incarnation } = request;
    const resumed = await store.resumeSession({ sessionId, worker, incarnation });
    if (resumed.outcome === "owned") return resumed.record.epoch;
    if (resumed.outcome !== "unknown") return "lost";
    // Or the alias has been given to another session meanwhile: this one is reached by its own id.
    const again = await store.createSession(withoutAlias(late));
    return again.outcome === "created" ? again.record.epoch : "lost";
  }

  /** The quota is per user, and users cost nothing where they sign in by just saying their name. */
  function isCrowded(): boolean {
    if (sessions.size < MAX_UNOPENED) return false;
    let unopened = 0;
    for (const session of sessions.values()) if (!session.isOpen) unopened++;
    return unopened >= MAX_UNOPENED;
  }

  function countOf(userId: string): number {
    let count = 0;
    for (const session of sessions.values()) if (session.userId === userId) count++;
    return count;
  }

  // --- claiming ---

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

  function resume(id: SessionId): Promise<Session | Claim> {
    let pending = resumes.get(id);
    if (pending === undefined) {
      pending = askStore(id).finally(() => resumes.delete(id));
      resumes.set(id, pending);
    }
    return pending;
  }

  /** Takes the session up from the store, not started yet; or what else the store says. */
  async function askStore(id: SessionId): Promise<Session | Claim> {
    const askedMs = clock.nowMs();
    const { resumed, step } = await ask(id);
    if (step === "redirect" && resumed.outcome === "elsewhere") return resumed;
    if (step === "wait") return { outcome: "undecided" };
    if (resumed.outcome !== "owned" || closed) {
      return remember(id, resumed.outcome === "closed" ? "closed" : "unknown");
    }
    const session = take(resumed.record);
    const pendingMessages = needs.handoverInbox.take(id, resumed.record.epoch);
    if (pendingMessages !== undefined && resumed.cause === "handed")
      session.unpack(pendingMessages);
    await session.restoreJoins();
    countResumed(counters, resumed.cause);
    counters.observe("worker.resume_ms", clock.nowMs() - askedMs);
    log.info(
      { session: label(id), cause: resumed.cause, peers: resumed.record.peers.length },
      "session resumed",
    );
    session.note("resumed", resumed.cause);
    return session;
  }

  /** What the store says, and what to do about it; with the owner's refusal as evidence when that is what it takes. */
  async function ask(id: SessionId): Promise<{ resumed: ResumeOutcome; step: ClaimStep }> {
    const claimant = { sessionId: id, worker: self.id, incarnation: self.incarnation };
    const resumed = await store.resumeSession(claimant);
    if (resumed.outcome !== "elsewhere") {
      return { resumed, step: decideClaim(resumed.outcome, "silent") };
    }
    const { seen, evidence, incarnation } = await needs.owners.look(resumed.owner);
    const step = decideClaim("elsewhere", seen);
    if (step !== "insist") return { resumed, step };
    if (evidence === undefined || incarnation === undefined) return { resumed, step: "wait" };
    const insisted = await store.resumeSession({ ...claimant, evidence, evidenceOf: incarnation });
    return { resumed: insisted, step: decideClaim(insisted.outcome, "silent") };
  }

  async function claimPatiently(
    id: SessionId,
    { forMs, isWanted }: { readonly forMs: number; readonly isWanted: () => boolean },
  ): Promise<Claim> {
    const untilMs = clock.nowMs() + forMs;
    let isFirst = true;
    for (;;) {
      let retryMs = UNDECIDED_RETRY_MS;
      try {
        const claimed = await claim(id);
        if (claimed.outcome !== "undecided") return claimed;
      } catch (error) {
        if (!(error instanceof StoreAwayError)) throw error;
        retryMs = RETRY_MS;
      }
      if (isFirst) counters.count("worker.claims_parked");
      isFirst = false;
      if (closed || clock.nowMs() + retryMs >= untilMs || !isWanted()) {
        return { outcome: "undecided" };
      }
      await sleep(clock, retryMs);
    }
  }

  function remember(id: SessionId, outcome: "closed" | "unknown"): Claim {
    const answer: Claim = { outcome };
    if (negatives.size >= MAX_NEGATIVES) negatives.clear();
    negatives.set(id, { claim: answer, untilMs: clock.nowMs() + NEGATIVE_MS });
    return answer;
  }

  function take(record: SessionRecord): Session {
    const session = new Session({ ...needs, onEnded: forget }, record);
    sessions.set(record.id, session);
    negatives.delete(record.id);
    return session;
  }

  function forget(session: Session): void {
    if (sessions.get(session.id) === session) sessions.delete(session.id);
    if (!session.isClosed) return;
    remember(session.id, "closed");
    const [oldest] = ended.keys();
    if (ended.size >= MAX_ENDED && oldest !== undefined) ended.delete(oldest);
    ended.set(session.id, { session, atMs: clock.nowMs() });
  }

  // --- confirming ---

  function confirm(): Promise<void> {
    confirmAgain = confirming !== undefined;
    confirming ??= confirmUntilQuiet().finally(() => {
      confirming = undefined;
    });
    return confirming;
  }

  async function confirmUntilQuiet(): Promise<void> {
    do {
      confirmAgain = false;
      await confirmEach();
    } while (confirmAgain && !closed);
  }

  async function confirmEach(): Promise<void> {
    const known = [...sessions.values()].filter((session) => session.isLive);
    let lost = 0;
    await forEach(known, async (session) => {
      const answer = await unlessRefused(session, () => session.confirm());
      if (answer === "lost") lost++;
      // Nobody knows whose it is now; whoever comes for it asks again.
      if (answer === "refused") session.fence();
    });
    if (known.length > 0) log.info({ sessions: known.length, lost }, "sessions confirmed");
    const seen = await whenStoreAnswers(() => store.members());
    if (seen?.booted === false) await remindOfEnded();
  }

  /** A store that was flushed does not know either what is over: an owner who was cut off could bring it back. */
  async function remindOfEnded(): Promise<void> {
    const storeMs = await whenStoreAnswers(() => store.timeMs());
    if (storeMs === undefined) return;
    await forEach([...ended.values()], async ({ session, atMs }) => {
      const untilMs = storeMs + TOMBSTONE_MS - (clock.nowMs() - atMs);
      const tombstone = session.tombstone(untilMs);
      if (tombstone !== undefined && untilMs > storeMs) {
        await unlessRefused(session, () => store.reassertSession(tombstone));
      }
    });
  }

  /** As `whenStoreAnswers`; what the store will not do for one session must not keep the others from being told. */
  async function unlessRefused<T>(
    { id }: Session,
    question: () => Promise<T>,
  ): Promise<T | "refused" | undefined> {
    try {
      return await whenStoreAnswers(question);
    } catch (error) {
      log.error({ session: label(id), err: error }, "session could not be confirmed");
      return "refused";
    }
  }

  // --- start and end ---

  async function recover(): Promise<void> {
    const ids = await whenStoreAnswers(() => store.sessionsOf(self.id));
    const recovered: Session[] = [];
    await forEach(ids ?? [], async (sessionId) => {
      if (sessions.has(sessionId)) return;
      const session = await whenStoreAnswers(() => resume(sessionId));
      if (session instanceof Session) recovered.push(session);
    });
    for (const session of recovered) if (session.isLive) session.start();
    if (recovered.length > 0) log.info({ sessions: recovered.length }, "sessions recovered");
  }

  /** Some at a time, until this registry is closed. */
  async function forEach<T>(
    items: readonly T[],
    action: (item: T) => Promise<void>,
  ): Promise<void> {
    const left = [...items].reverse();
    async function next(): Promise<void> {
      for (let item = left.pop(); item !== undefined && !closed; item = left.pop()) {
        await action(item);
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, next));
  }

  /** Asks until the store answers; undefined when this registry was closed before. */
  async function whenStoreAnswers<T>(question: () => Promise<T>): Promise<T | undefined> {
    while (!closed) {
      try {
        return await question();
      } catch (error) {
        if (!(error instanceof StoreAwayError)) throw error;
        await sleep(clock, RETRY_MS);
      }
    }
    return undefined;
  }

  return {
    recover,
    create,
    claim,
    claimPatiently,
    fence() {
      const live = [...sessions.values()].filter((session) => session.isLive);
      for (const session of live) session.fence();
      if (live.length > 0) {
        counters.count("worker.fenced");
        log.warn(
          { sessions: live.length },
          "the lease could not be renewed in time, and others can take the sessions over: nothing is relayed until the store says whose they are",
        );
      }
    },
    confirm,
    knows: (id) => sessions.has(id),
    live(id) {
      const session = sessions.get(id);
      return session?.isHeld ? session : undefined;
    },
    get sessionIds() {
      return [...sessions.values()].filter((session) => session.isLive).map(({ id }) => id);
    },
    get load() {
      let connections = 0;
      for (const session of sessions.values()) connections += session.connections;
      return { sessions: sessions.size, connections };
    },
    sessions: () => sessions.values(),
    async close() {
      closed = true;
      const open = [...sessions.values()];
      // What is on its way to the store arrives first: losing a session gives up the rest.
      await Promise.all(open.map((session) => session.settled()));
      for (const session of open) session.lose();
      sessions.clear();
    },
  };
}

function withoutAlias(request: CreateSession): CreateSession {
  const { alias: _, ...rest } = request;
  return rest;
}
