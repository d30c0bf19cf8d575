/**
 * One session's ownership: what its record in the store says, and whether this worker may act on it. The worker holds
 * the session until it is fenced (another worker may have taken it over), and again once the store confirms it. It loses
 * it when the store names another owner, and gives it up by a handover.
 */

import type { Clock } from "../../shared/base/clock.ts";
import type { Incarnation, SessionId, WorkerId } from "../../shared/base/ids.ts";
import { oneFlight } from "../../shared/base/one-flight.ts";
import { appendEvent } from "../../shared/cluster/history.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import {
  type EdgeEvent,
  type Holder,
  type Reassertion,
  type SessionChange,
  type SessionRecord,
  type Store,
  StoreAwayError,
} from "../../shared/store/store.ts";
import type { Activity } from "../activity/recorder.ts";
import { ROOM_TOKEN_MS } from "../login/tokens.ts";
import { type MoveOutcome, moveText } from "./peers/prepare-move.ts";
import type { PendingMessages } from "./pending-messages.ts";
import { createWriteQueue, type WriteQueue } from "./write-queue.ts";

/** `closed` is final; `lost`: another worker owns the session, or this worker stops. */
export type SessionState = "created" | "open" | "closed" | "lost";

/** A change that can wait for its turn. */
type Write = Exclude<SessionChange, { readonly kind: "next-clock" }>;

/** The cause of a handover; in the session's history, `moveText` follows it. */
export type HandoverCause = "drain" | "rebalance";

/** `kept`: still here. `gone`: closed or lost in the meantime. */
export type HandoverOutcome = "handed" | "kept" | "gone";

export interface OwnershipDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly self: { readonly id: WorkerId; readonly incarnation: Incarnation };
  readonly activity: Activity;
}

/** The session, as its ownership sees it. */
export interface OwnedSession {
  state(): SessionState;
  /** Ids of room tokens that are no longer accepted. */
  revokedTokens(): readonly string[];
  isLocked(): boolean;
  /** Writes everything but the session's own record, after the store has lost it. Rejects with `StoreAwayError`. */
  restoreRecords(): Promise<void>;
  /** Makes all clients reconnect, at once. */
  disconnectClients(): void;
  /**
   * Asks all clients to reconnect, but for those whose WebSockets can go on at the next owner, if `keepOpen`. Resolves when
   * everything that they sent is relayed, and nothing more of them is.
   */
  migrateClients(keepOpen: boolean): Promise<MoveOutcome>;
  /** After `migrateClients`: the session stays here after all. */
  keepClients(): void;
  /** Messages that were not delivered here, under the epoch in which they were collected. */
  pendingMessages(epoch: number): PendingMessages;
  /** Ends the session on this worker without a write. */
  lose(): void;
}

/** A tombstone outlives a token that was signed just before it, plus the accepted clock skew. */
export const TOMBSTONE_MS = ROOM_TOKEN_MS + 120_000;

export class SessionOwnership {
  /** The session's writes to the store, in order. */
  readonly writes: WriteQueue;
  readonly #deps: OwnershipDeps;
  readonly #session: OwnedSession;
  readonly #origin: Pick<SessionRecord, "id" | "userId" | "alias" | "createdMs">;
  /** In which the session came to this worker. */
  readonly firstEpoch: number;
  #epoch: number;
  /** The last room token's clock. */
  #clock: number;
  #isFenced = false;
  /** How often the session was fenced: a confirmation counts only if no fence came while the store was asked. */
  #fences = 0;
  /** False while the store has never had the session, because it was away when the session was created. */
  #isRecorded = true;
  readonly #reassertOnce = oneFlight(() => this.#reassert());
  #isHandingOver = false;
  /** The worker that the store was asked to release the session to. It may have done so although no response came. */
  #successor: WorkerId | undefined;

  constructor(
    deps: OwnershipDeps,
    { id, userId, alias, createdMs, epoch, clock }: SessionRecord,
    session: OwnedSession,
  ) {
    this.#deps = deps;
    this.#session = session;
    this.#origin = { id, userId, createdMs, ...(alias !== undefined && { alias }) };
    this.firstEpoch = epoch;
    this.#epoch = epoch;
    this.#clock = clock;
    this.writes = createWriteQueue({
      clock: deps.clock,
      holder: () => this.#holder(),
      before: () => deps.activity.stored(),
      confirm: () => this.confirm(),
      onLost: () => this.#yieldToOwner(),
      onFailure: (error) => this.reportFailure(error),
    });
  }

  get epoch(): number {
    return this.#epoch;
  }

  /** Whether another worker may own the session by now: until `confirm`, nothing may be relayed. */
  get isFenced(): boolean {
    return this.#isFenced;
  }

  /** Whether a handover is under way: no client is admitted here. */
  get isHandingOver(): boolean {
    return this.#isHandingOver;
  }

  // --- fence and confirm ---

  /** Another worker may own the session by now: disconnects its clients, and nothing is relayed before `confirm`. */
  fence(): void {
    if (!this.#isLive()) return;
    this.#isFenced = true;
    this.#fences++;
    this.#session.disconnectClients();
  }

  /**
   * Asks the store whether this worker still owns the session, and restores what the store has lost. `lost`: the session
   * has ended here. Rejects with `StoreAwayError`.
   */
  confirm(): Promise<"held" | "lost"> {
    return this.#reassertOnce();
  }

  /** The record of a session that is closed; undefined for any other. */
  tombstone(untilMs: number): Reassertion | undefined {
    const state = this.#session.state();
    return state === "closed" ? this.#reassertion(state, untilMs) : undefined;
  }

  async #reassert(): Promise<"held" | "lost"> {
    if (this.#isLost()) return "lost";
    // No other worker can know a session that the store has never had.
    if (!this.#isRecorded) return this.#unfence();
    if (this.#successor !== undefined && this.#isLive()) {
      const release = { kind: "release", to: this.#successor } as const;
      if ((await this.#deps.store.changeSession(this.#holder(), release)) === "done") {
        this.#session.lose();
        return "lost";
      }
      // The successor owns it already, or the store no longer knows it.
      this.#successor = undefined;
    }
    const fences = this.#fences;
    const untilMs = await this.tombstoneEndMs();
    // The session may have ended while the store was asked, here and below. One that was lost must not be written.
    const state = this.#session.state();
    if (state === "lost") return "lost";
    const outcome = await this.#deps.store.reassertSession(this.#reassertion(state, untilMs));
    if (this.#isLost()) return "lost";
    if (outcome === "lost") {
      this.#yieldToOwner();
      return "lost";
    }
    if (outcome === "written" && this.#isLive()) {
      await this.#session.restoreRecords();
      this.#deps.counters.count("worker.sessions_reasserted");
      this.note("resumed", "reasserted");
    }
    // Fenced again in the meantime: the response is older than the fence and proves nothing.
    return fences === this.#fences ? this.#unfence() : this.#reassert();
  }

  #unfence(): "held" {
    this.#isFenced = false;
    return "held";
  }

  #reassertion(state: Reassertion["state"], untilMs: number): Reassertion {
    const { self } = this.#deps;
    return {
      ...this.#origin,
      owner: self.id,
      incarnation: self.incarnation,
      epoch: this.#epoch,
      state,
      clock: this.#clock,
      revokedTokens: [...this.#session.revokedTokens()],
      ...(this.#session.isLocked() && { locked: true }),
      untilMs,
    };
  }

  /** The store names another owner. */
  #yieldToOwner(): void {
    if (!this.#isLive()) return;
    this.#deps.counters.count("worker.sessions_closed", "lost");
    this.#deps.log.warn(
      { session: shortId(this.#origin.id) },
      "session was taken over by another worker",
    );
    this.#session.lose();
  }

  // --- handover ---

  /**
   * Hands the session over to `successor`: clients are asked to reconnect, or with `keepOpen` their WebSockets go on there, what
   * they still send is relayed, messages that can no longer be delivered go to `deliver`, and then the store releases the
   * session. `kept`: the store or the
   * successor did not respond. If it was the release that got no response, the successor may own the session, so it stays
   * fenced here until the store confirms it.
   */
  async handOver(
    successor: WorkerId,
    deliver: (pendingMessages: PendingMessages) => Promise<void>,
    cause: HandoverCause,
    keepOpen: boolean,
  ): Promise<HandoverOutcome> {
    if (!this.#isHeld() || this.#isHandingOver) return this.#keptOrGone();
    // No client is disconnected for a release that cannot be written.
    if (this.#deps.store.health.state !== "up") return "kept";
    this.#isHandingOver = true;
    try {
      const moved = await this.#session.migrateClients(keepOpen);
      await this.writes.settled();
      if (!this.#isHeld() || this.writes.pending > 0) return this.#keptOrGone();
      await deliver(this.#session.pendingMessages(this.#epoch));
      if (!this.#isHeld()) return this.#keptOrGone();
      return await this.#releaseTo(successor, cause + moveText(moved));
    } catch (error) {
      this.#deps.log.warn(
        { session: shortId(this.#origin.id), err: error },
        "session handover failed",
      );
      return this.#keptOrGone();
    } finally {
      this.#isHandingOver = false;
      if (this.#isLive()) this.#session.keepClients();
    }
  }

  /** Retried until the store responds: a release without a response may have been applied and is not undone. */
  async #releaseTo(successor: WorkerId, cause: string): Promise<HandoverOutcome> {
    this.note("released", cause);
    this.#successor = successor;
    const result = await this.writes.write(async () =>
      (await this.#reassert()) === "held" ? "done" : "lost",
    );
    if (result === "later") this.fence();
    if (this.#isLive()) return "kept";
    return this.#isLost() && this.#successor === successor ? "handed" : "gone";
  }

  #keptOrGone(): HandoverOutcome {
    return this.#isLive() ? "kept" : "gone";
  }

  // --- writes ---

  /** Changes the session in the store when it is this change's turn. */
  change(change: Write | (() => Promise<Write>)): Promise<"done" | "lost" | "later"> {
    return this.writes.write(async (holder) => {
      const made = typeof change === "function" ? await change() : change;
      return this.#deps.store.changeSession(holder, made);
    });
  }

  /** Closes the session in the store. `onClosed` gets the result, and passes it on. */
  close(onClosed: (result: "done" | "lost") => "done" | "lost"): Promise<unknown> {
    return this.writes.write(async (holder) => {
      const untilMs = await this.tombstoneEndMs();
      return onClosed(await this.#deps.store.changeSession(holder, { kind: "close", untilMs }));
    });
  }

  /** Records a session that was created while the store was away. `record` resolves with its epoch in the store. */
  recordLate(record: () => Promise<number | "lost">): void {
    this.#isRecorded = false;
    void this.writes.write(async () => {
      const epoch = await record();
      if (epoch === "lost") return "lost";
      this.#isRecorded = true;
      if (epoch >= this.#epoch) {
        this.#epoch = epoch;
        return "done";
      }
      // This machine's clock is ahead of the store's, and balancers already have the epoch made here: it must not fall.
      return (await this.#reassert()) === "held" ? "done" : "lost";
    });
  }

  /** Adds an entry to the session's history. */
  note(kind: EdgeEvent["kind"], cause: string): void {
    void this.writes.write(async ({ sessionId, owner, epoch }) => {
      await appendEvent(this.#deps.store, { kind, sessionId, worker: owner, epoch, cause });
      return "done";
    });
  }

  /** The store time until which a tombstone that is written now is kept. */
  async tombstoneEndMs(): Promise<number> {
    return (await this.#deps.store.timeMs()) + TOMBSTONE_MS;
  }

  /** The next room token's clock. Without the store it counts on locally: no two tokens may be equal. */
  async nextClock(): Promise<number> {
    const { store } = this.#deps;
    try {
      let next = await store.changeSession(this.#holder(), { kind: "next-clock" });
      // The store may have lost its data rather than given the session away.
      if (next === "lost" && (await this.confirm()) === "held") {
        next = await store.changeSession(this.#holder(), { kind: "next-clock" });
      }
      if (next !== "lost") this.#clock = Math.max(next, this.#clock + 1);
      else this.#yieldToOwner();
    } catch (error) {
      if (!(error instanceof StoreAwayError)) throw error;
      this.#clock++;
    }
    return this.#clock;
  }

  reportFailure(error: unknown): void {
    this.#deps.log.error(
      { session: shortId(this.#origin.id), err: error },
      "session could not be written",
    );
  }

  #holder(): Holder {
    return { sessionId: this.#origin.id, owner: this.#deps.self.id, epoch: this.#epoch };
  }

  #isLive(): boolean {
    const state = this.#session.state();
    return state === "created" || state === "open";
  }

  #isHeld(): boolean {
    return this.#isLive() && !this.#isFenced;
  }

  #isLost(): boolean {
    return this.#session.state() === "lost";
  }
}

/** The part of a session's id that a log may show. */
export function shortId(id: SessionId): string {
  return `${id.slice(0, 6)}…`;
}
