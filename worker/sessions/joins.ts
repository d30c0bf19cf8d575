/**
 * Join requests of one session: who asks, what the host says, and the ticket that tells the guest. The tickets are in
 * the store, so that any worker can tell, and so that a session that was taken up again knows who is still waiting.
 */
import { z } from "zod";
import type { Clock, Timer } from "../../shared/base/clock.ts";
import { newPeerId, randomAlphanumerics, type SessionId } from "../../shared/base/ids.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import type { Store, UserRecord } from "../../shared/store/store.ts";
import type { Tokens } from "../login/tokens.ts";
import type { Peer } from "./peer.ts";
import { type JoinAnswer, type Workspace, workspaceSchema } from "./wire/join-answer.ts";
import { joinRequest, toWirePeer } from "./wire/outbound.ts";
import { type Message, plainContent } from "./wire/protocol.ts";
import type { RelayIds } from "./wire/relay-id.ts";
import type { WriteQueue } from "./write-queue.ts";

export interface Joins {
  /** Puts a ticket and asks the host. Resolves with the poll token; rejects with `StoreAwayError`. */
  ask(user: UserRecord): Promise<string>;
  /** Takes up the requests that wait in the store, and asks again. Rejects with `StoreAwayError`. */
  restore(): Promise<void>;
  /** Puts the tickets of all who wait back, because the store has lost them. Rejects with `StoreAwayError`. */
  putAllBack(): Promise<void>;
  /** Puts one ticket back. `false`: nobody waits with that token. Rejects with `StoreAwayError`. */
  putBack(pollToken: string): Promise<boolean>;
  /** The host is known now: it is asked what nobody could be asked before. */
  hostArrived(host: Peer): void;
  /** Takes the host's answer. `false`: nobody waits for it. */
  answer(pollToken: string, host: Peer, message: Message): boolean;
  /** Requests that wait. */
  readonly waiting: number;
  /** Those of one user. */
  waitingOf(userId: string): number;
  /** Resolves when each request that was put and each answer that the host has given is on its way to the store. */
  settled(): Promise<void>;
  /** The session has ended: whoever waits is told so. */
  rejectAll(): void;
  /** The session goes on elsewhere: the tickets stay as they are. */
  close(): void;
}

/** The host has so long to answer, as in the reference server. */
const ANSWER_MS = 300_000;
/** Tickets live a little longer, so that the time-out can be told. */
const TICKET_MS = 330_000;

interface Waiting {
  readonly user: UserRecord;
  /** Wall time. */
  readonly askedMs: number;
  readonly timer: Timer;
}

export function createJoins(needs: {
  sessionId: SessionId;
  store: Store;
  clock: Clock;
  counters: Counters;
  tokens: Tokens;
  relayIds: RelayIds;
  writeQueue: WriteQueue;
  host: () => Peer | undefined;
  /** The next value of the session's clock. */
  nextClock: () => Promise<number>;
  /** Told of what failed while an answer was given. */
  onFailure: (error: unknown) => void;
}): Joins {
  const { sessionId, store, clock, counters } = needs;
  const waitingByToken = new Map<string, Waiting>();
  /** What asks the store before a ticket can be put or answered. */
  const underWay = new Set<Promise<void>>();

  function track(work: Promise<void>): Promise<void> {
    underWay.add(work);
    const forget = (): void => void underWay.delete(work);
    work.then(forget, forget);
    return work;
  }

  function wait(pollToken: string, { user, askedMs }: JoinQuestion, forMs: number): void {
    const timer = clock.after(forMs, () => {
      if (finish(pollToken)) settle(pollToken, { accepted: false, code: "JoinTimeout" }, "timeout");
    });
    waitingByToken.set(pollToken, { user, askedMs, timer });
    const host = needs.host();
    if (host !== undefined) askHost(host, pollToken, user);
  }

  function putTicket(pollToken: string, question: JoinQuestion): Promise<void> {
    return store.putTicket({
      kind: "join",
      token: pollToken,
      question,
      group: sessionId,
      ttlMs: TICKET_MS,
    });
  }

  async function putBack(pollToken: string): Promise<boolean> {
    const waiting = waitingByToken.get(pollToken);
    if (waiting === undefined) return false;
    const { user, askedMs } = waiting;
    await putTicket(pollToken, { sessionId, user, askedMs });
    return true;
  }

  function askHost(host: Peer, pollToken: string, user: UserRecord): void {
    host.send(joinRequest(needs.relayIds.forJoin(pollToken, host.id), host.id, user));
  }

  function finish(pollToken: string): Waiting | undefined {
    const waiting = waitingByToken.get(pollToken);
    waitingByToken.delete(pollToken);
    waiting?.timer.cancel();
    return waiting;
  }

  function settle(pollToken: string, answer: JoinAnswer, result: string): void {
    counters.count("worker.joins", result);
    void needs.writeQueue.write(async () => {
      await store.answerTicket("join", pollToken, answer);
      return "done";
    });
  }

  function reject(pollToken: string): void {
    settle(pollToken, { accepted: false, code: "JoinRejected" }, "rejected");
  }

  async function accept(
    pollToken: string,
    user: UserRecord,
    host: Peer,
    workspace: Workspace,
  ): Promise<void> {
    const roomToken = await needs.tokens.signRoom({
      sessionId,
      clock: await needs.nextClock(),
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
    settle(pollToken, answer, "accepted");
  }

  return {
    async ask(user) {
      // The session's id comes first, so that a balancer can route the polls.
      const pollToken = sessionId + randomAlphanumerics(24);
      const question: JoinQuestion = { sessionId, user, askedMs: clock.wallMs() };
      await track(putTicket(pollToken, question));
      counters.count("worker.joins", "asked");
      wait(pollToken, question, ANSWER_MS);
      return pollToken;
    },
    async restore() {
      for (const ticket of await store.ticketsOf("join", sessionId)) {
        const question = questionSchema.safeParse(ticket.question).data;
        if (ticket.state !== "waiting" || question === undefined) continue;
        if (waitingByToken.has(ticket.token)) continue;
        // Another machine's clock may be wrong; then the host has more or less time, and the ticket ends by itself.
        const askedForMs = Math.max(0, clock.wallMs() - question.askedMs);
        wait(ticket.token, question, Math.max(0, ANSWER_MS - askedForMs));
      }
    },
    async putAllBack() {
      for (const pollToken of [...waitingByToken.keys()]) await putBack(pollToken);
    },
    putBack,
    hostArrived(host) {
      for (const [pollToken, { user }] of waitingByToken) askHost(host, pollToken, user);
    },
    answer(pollToken, host, message) {
      const waiting = finish(pollToken);
      if (waiting === undefined) return false;
      const content = joinContent.safeParse(plainContent(message)).data;
      if (message.kind !== "response" || content === undefined) {
        reject(pollToken);
      } else {
        const { workspace } = content.response;
        const accepted = accept(pollToken, waiting.user, host, workspace);
        void track(
          accepted.catch((error: unknown) => {
            needs.onFailure(error);
            reject(pollToken);
          }),
        );
      }
      return true;
    },
    get waiting() {
      return waitingByToken.size;
    },
    waitingOf(userId) {
      let count = 0;
      for (const { user } of waitingByToken.values()) if (user.id === userId) count++;
      return count;
    },
    async settled() {
      while (underWay.size > 0) await Promise.allSettled(underWay);
    },
    rejectAll() {
      for (const pollToken of [...waitingByToken.keys()]) {
        finish(pollToken);
        reject(pollToken);
      }
    },
    close() {
      for (const pollToken of [...waitingByToken.keys()]) finish(pollToken);
    },
  };
}

// --- what is read ---

const text = z.string().max(65_536);

const questionSchema = z.object({
  sessionId: z.custom<SessionId>((value) => typeof value === "string"),
  user: z.object({
    id: text,
    name: text,
    email: text.exactOptional(),
    authProvider: text.exactOptional(),
  }),
  /** Wall time of the worker that was asked. */
  askedMs: z.number(),
});

type JoinQuestion = z.infer<typeof questionSchema>;

/** A host that agrees sends its workspace; one that does not sends nothing in its place. */
const joinContent = z.object({ response: z.object({ workspace: workspaceSchema }) });
