/**
 * The join requests of one session: asks the host and writes its decision to the guest's ticket. Tickets are in the
 * store, so that any worker can answer the guest's polls and the session's next owner finds the requests that still wait.
 */
import { z } from "zod";
import type { NewEvent, Party } from "../../shared/activity/event.ts";
import type { Clock, Timer } from "../../shared/base/clock.ts";
import { sessionIdSchema } from "../../shared/base/id-schemas.ts";
import { newPeerId, randomAlphanumerics, type SessionId } from "../../shared/base/ids.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import type { Store, UserRecord } from "../../shared/store/store.ts";
import { userRecordSchema } from "../../shared/store/user-record.ts";
import { EDGE, type Origin, ruleParty, userParty } from "../activity/parties.ts";
import type { Activity } from "../activity/recorder.ts";
import type { Tokens } from "../login/tokens.ts";
import type { Peer } from "./peers/peer.ts";
import { type JoinAnswer, type Workspace, workspaceSchema } from "./wire/join-answer.ts";
import { errorNotice, joinRequest, toWirePeer } from "./wire/outbound.ts";
import { type Message, plainContent } from "./wire/protocol.ts";
import type { RelayIds } from "./wire/relay-id.ts";
import type { WriteQueue } from "./write-queue.ts";

export type JoinRequest =
  | { readonly outcome: "asked"; readonly pollToken: string }
  | { readonly outcome: "full" | "locked" }
  | { readonly outcome: "unopened" };

export interface JoinOptions {
  /** In the session; undefined: as many as in any. */
  readonly maxPeople?: number | undefined;
  /** The rule of the policy by which the host need not be asked. */
  readonly welcomedBy?: string | undefined;
  readonly origin?: Origin;
}

export interface JoinsDeps {
  readonly sessionId: SessionId;
  readonly store: Store;
  readonly clock: Clock;
  readonly counters: Counters;
  readonly tokens: Tokens;
  readonly relayIds: RelayIds;
  readonly writeQueue: WriteQueue;
  readonly activity: Activity;
  readonly host: () => Peer | undefined;
  /** The next value of the session's clock. */
  readonly nextClock: () => Promise<number>;
  /** Called with the error when an accepted guest could not be given a token; the guest is rejected. */
  readonly onFailure: (error: unknown) => void;
}

/** The host's time to decide, as in the reference server. */
const DECISION_TIMEOUT_MS = 300_000;
/** Tickets outlive the decision, so that a guest's poll still finds the time-out. */
const TICKET_MS = 330_000;

interface WaitingGuest {
  readonly user: UserRecord;
  /** Wall time. */
  readonly askedMs: number;
  readonly timer: Timer;
}

interface Decided {
  readonly pollToken: string;
  /** Who has asked. */
  readonly user: UserRecord;
  readonly by: Party;
  /** Of a refusal that the host has not decided. */
  readonly cause?: string;
}

/** One person must not take all places of the queue. */
const MAX_WAITING_PER_USER = 5;

export class Joins {
  readonly #deps: JoinsDeps;
  readonly #waiting = new Map<string, WaitingGuest>();
  /** Store calls that a decision or a new ticket waits for before its write is queued. */
  readonly #running = new Set<Promise<void>>();
  /** What the host has shown to the last guest whom it has let in. */
  #workspace: Workspace | undefined;
  /** Users who came in without a question, once for each time in the last minutes. */
  readonly #welcomed = new Set<{ readonly userId: string }>();

  constructor(deps: JoinsDeps) {
    this.#deps = deps;
  }

  /** Whether no further request may wait: `limit` of all people do, or too many of this one. */
  isFull(userId: string, limit: number): boolean {
    let own = 0;
    for (const { user } of this.#waiting.values()) if (user.id === userId) own++;
    for (const welcome of this.#welcomed) if (welcome.userId === userId) own++;
    return this.#waiting.size >= limit || own >= MAX_WAITING_PER_USER;
  }

  /**
   * Creates a ticket and asks the host. Resolves with the poll token; rejects with `StoreAwayError`. `welcomedBy`: the host is told
   * instead, once it has let somebody in: only its client knows what it shares.
   */
  async ask(user: UserRecord, { welcomedBy, origin }: JoinOptions): Promise<string> {
    const { sessionId, clock, counters } = this.#deps;
    // The session's id comes first, so that a balancer can route the polls.
    const pollToken = sessionId + randomAlphanumerics(24);
    const question: JoinQuestion = { sessionId, user, askedMs: clock.wallMs() };
    this.#record("join.asked", pollToken, { actor: userParty(user, origin) });
    await this.#track(this.#putTicket(pollToken, question));
    const host = this.#deps.host();
    if (welcomedBy !== undefined && this.#workspace !== undefined && host?.isConnected) {
      counters.count("worker.joins", "not asked");
      const welcome = { userId: user.id };
      this.#welcomed.add(welcome);
      this.#deps.clock.after(DECISION_TIMEOUT_MS, () => this.#welcomed.delete(welcome));
      host.send(errorNotice(`${user.name} joins without your approval: this server allows it.`));
      this.#acceptSoon({ pollToken, user, by: ruleParty(welcomedBy) }, host, this.#workspace);
      return pollToken;
    }
    counters.count("worker.joins", "asked");
    this.#wait(pollToken, question, DECISION_TIMEOUT_MS);
    return pollToken;
  }

  #wait(pollToken: string, { user, askedMs }: JoinQuestion, forMs: number): void {
    const timer = this.#deps.clock.after(forMs, () => {
      if (this.#stopWaiting(pollToken) === undefined) return;
      const answer = { accepted: false, code: "JoinTimeout" } as const;
      this.#answerTicket({ pollToken, user, by: EDGE }, answer, "timeout");
    });
    this.#waiting.set(pollToken, { user, askedMs, timer });
    const host = this.#deps.host();
    if (host !== undefined) this.#askHost(host, pollToken, user);
  }

  /** The host is there: it is asked about every request that waits. */
  hostArrived(host: Peer): void {
    for (const [pollToken, { user }] of this.#waiting) this.#askHost(host, pollToken, user);
  }

  #askHost(host: Peer, pollToken: string, user: UserRecord): void {
    host.send(joinRequest(this.#deps.relayIds.forJoin(pollToken, host.id), host.id, user));
  }

  /** Handles the host's response. `false`: no such request waits. */
  answer(pollToken: string, host: Peer, message: Message): boolean {
    const guest = this.#stopWaiting(pollToken);
    if (guest === undefined) return false;
    const content = joinContent.safeParse(plainContent(message)).data;
    const decided = { pollToken, user: guest.user, by: userParty(host.record.user) };
    if (message.kind !== "response" || content === undefined) {
      this.#reject(decided);
      return true;
    }
    this.#workspace = content.response.workspace;
    this.#acceptSoon(decided, host, this.#workspace);
    return true;
  }

  #acceptSoon(decided: Decided, host: Peer, workspace: Workspace): void {
    const accepted = this.#accept(decided, host, workspace);
    void this.#track(
      accepted.catch((error: unknown) => {
        this.#deps.onFailure(error);
        this.#reject({ ...decided, by: EDGE });
      }),
    );
  }

  async #accept(decided: Decided, host: Peer, workspace: Workspace): Promise<void> {
    const { user } = decided;
    const { sessionId, tokens, nextClock } = this.#deps;
    const roomToken = await tokens.signRoom({
      sessionId,
      clock: await nextClock(),
      peerId: newPeerId(),
      user,
      host: false,
    });
    const answer: JoinAnswer = {
      accepted: true,
      sessionId,
      roomToken,
      workspace,
      host: toWirePeer(host.record),
    };
    this.#answerTicket(decided, answer, "accepted");
  }

  #reject(decided: Decided): void {
    this.#answerTicket(decided, { accepted: false, code: "JoinRejected" }, "rejected");
  }

  #answerTicket({ pollToken, user, by, cause }: Decided, answer: JoinAnswer, result: string): void {
    this.#deps.counters.count("worker.joins", result);
    this.#record(answer.accepted ? "join.approved" : "join.refused", pollToken, {
      ...{ actor: by, target: userParty(user) },
      ...(!answer.accepted && { details: { cause: cause ?? result } }),
    });
    void this.#deps.writeQueue.write(async () => {
      await this.#deps.store.answerTicket("join", pollToken, answer);
      return "done";
    });
  }

  // --- tickets that outlive a worker or a store ---

  /** Restores the requests that wait in the store, and asks the host. Rejects with `StoreAwayError`. */
  async restore(): Promise<void> {
    const { store, sessionId, clock } = this.#deps;
    for (const ticket of await store.ticketsOf("join", sessionId)) {
      const question = questionSchema.safeParse(ticket.question).data;
      if (ticket.state !== "waiting" || question === undefined) continue;
      if (this.#waiting.has(ticket.token)) continue;
      // Another machine's clock may be wrong: the host then has more or less time, and the ticket expires by itself.
      const waitedMs = Math.max(0, clock.wallMs() - question.askedMs);
      this.#wait(ticket.token, question, Math.max(0, DECISION_TIMEOUT_MS - waitedMs));
    }
  }

  /** Writes all waiting tickets again, after the store has lost them. Rejects with `StoreAwayError`. */
  async putAllBack(): Promise<void> {
    for (const pollToken of [...this.#waiting.keys()]) await this.putBack(pollToken);
  }

  /** Writes one ticket again. `false`: no such request waits. Rejects with `StoreAwayError`. */
  async putBack(pollToken: string): Promise<boolean> {
    const guest = this.#waiting.get(pollToken);
    if (guest === undefined) return false;
    const { user, askedMs } = guest;
    await this.#putTicket(pollToken, { sessionId: this.#deps.sessionId, user, askedMs });
    return true;
  }

  async #putTicket(token: string, question: JoinQuestion): Promise<void> {
    const { sessionId: group, store, activity } = this.#deps;
    await activity.stored();
    await store.putTicket({ kind: "join", token, question, group, ttlMs: TICKET_MS });
  }

  #record(
    kind: "join.asked" | "join.approved" | "join.refused",
    pollToken: string,
    more: Pick<NewEvent, "actor" | "target" | "details">,
  ): void {
    const { sessionId: session, activity } = this.#deps;
    // Without the session's id.
    activity.record({ kind, session, once: pollToken.slice(session.length), ...more });
  }

  // --- end ---

  /** Resolves when every ticket is created and the host's decisions so far are in the write queue. */
  async settled(): Promise<void> {
    while (this.#running.size > 0) await Promise.allSettled(this.#running);
  }

  /** The session is closed, or `by` has locked it: rejects every guest that waits. */
  rejectAll(cause: "closed" | "locked", by: Party): void {
    for (const [pollToken, { user }] of [...this.#waiting]) {
      this.#stopWaiting(pollToken);
      this.#reject({ pollToken, user, by, cause });
    }
  }

  /** The session goes on elsewhere: the tickets stay as they are. */
  close(): void {
    for (const pollToken of [...this.#waiting.keys()]) this.#stopWaiting(pollToken);
  }

  #stopWaiting(pollToken: string): WaitingGuest | undefined {
    const guest = this.#waiting.get(pollToken);
    this.#waiting.delete(pollToken);
    guest?.timer.cancel();
    return guest;
  }

  #track(work: Promise<void>): Promise<void> {
    this.#running.add(work);
    const forget = (): void => void this.#running.delete(work);
    work.then(forget, forget);
    return work;
  }
}

// --- what is read ---

const questionSchema = z.object({
  sessionId: sessionIdSchema,
  user: userRecordSchema,
  /** Wall time of the worker that was asked. */
  askedMs: z.number(),
});

type JoinQuestion = z.infer<typeof questionSchema>;

/** An accepting host sends its workspace; a rejecting one sends nothing in its place. */
const joinContent = z.object({ response: z.object({ workspace: workspaceSchema }) });
