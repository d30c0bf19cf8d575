/**
 * One session on this worker. It is `created` until its host connects, then `open`, and ends `closed` (final) or `lost`
 * (another worker owns it, or this one stops). Three parts do the work: its peers (session-peers.ts), the relay between
 * them (peers/relay.ts) and its ownership (session-ownership.ts).
 */
import { type Clock, sleep, type Timer } from "../../shared/base/clock.ts";
import type { Incarnation, PeerId, SessionId, WorkerId } from "../../shared/base/ids.ts";
import type { Sender } from "../../shared/control/command.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import type { ResumeState } from "../../shared/net/edge-headers.ts";
import type { DeliveryMark } from "../../shared/resume/frames.ts";
import type { PurposeKeys } from "../../shared/settings/keyring.ts";
import type { Slice } from "../../shared/settings/read-settings.ts";
import {
  type Reassertion,
  type SessionRecord,
  type Store,
  UNOPENED_SESSION_MS,
  type UserRecord,
} from "../../shared/store/store.ts";
import { unlessAway } from "../../shared/store/unless-away.ts";
import { EDGE, operatorParty } from "../activity/parties.ts";
import type { Activity } from "../activity/recorder.ts";
import type { RoomToken, Tokens } from "../login/tokens.ts";
import {
  type Admission,
  CLOSE_CAUSES,
  type CloseCause,
  type Introduction,
  type ResumeRefusal,
} from "./admission.ts";
import type { Fence } from "./fence.ts";
import { createIdleTracker, type IdleTracker } from "./idle.ts";
import { type JoinOptions, type JoinRequest, Joins } from "./joins.ts";
import type { Connection, Peer } from "./peers/peer.ts";
import { createPendingRequests, type PendingRequests } from "./peers/pending-requests.ts";
import type { MoveOutcome } from "./peers/prepare-move.ts";
import { createRelay, type Relay } from "./peers/relay.ts";
import type { PendingMessages } from "./pending-messages.ts";
import type { ResumeTicket } from "./resume-ticket.ts";
import { createSessionDiary, type SessionDiary } from "./session-diary.ts";
import {
  type HandoverCause,
  type HandoverOutcome,
  SessionOwnership,
  type SessionState,
} from "./session-ownership.ts";
import { AWAY_MS, type PEER_SETTINGS, SessionPeers } from "./session-peers.ts";
import type { SessionUsage } from "./session-usage.ts";
import { requestFailure, roomClosed } from "./wire/outbound.ts";
import type { VersionCheck } from "./wire/protocol.ts";
import { createRelayIds } from "./wire/relay-id.ts";

export interface SessionDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly tokens: Tokens;
  /** Authenticates the ids of relayed requests. */
  readonly relayKeys: PurposeKeys;
  readonly settings: Slice<typeof PEER_SETTINGS>;
  /** Messages of other protocol versions are dropped. */
  readonly acceptsVersion: VersionCheck;
  readonly self: { readonly id: WorkerId; readonly incarnation: Incarnation };
  readonly fence: Pick<Fence, "look" | "hold">;
  readonly activity: Activity;
  readonly usage: SessionUsage;
  /** Called once, when nothing is left to do: closed and written, or lost. */
  readonly onEnded: (session: Session) => void;
}

const CLOSE_RETRY_MS = 1000;
const NO_LIMIT = Number.POSITIVE_INFINITY;

export class Session {
  readonly id: SessionId;
  /** The user who created it, and when: wall time in ms. */
  readonly userId: string;
  readonly createdMs: number;
  readonly #deps: SessionDeps;
  readonly #ownership: SessionOwnership;
  readonly #peers: SessionPeers;
  readonly #joins: Joins;
  readonly #requests: PendingRequests;
  readonly #relay: Relay;
  readonly #idle: IdleTracker;
  readonly diary: SessionDiary;
  #state: SessionState;
  #isStarted = false;
  #hostTimer: Timer | undefined;
  #relayedBytes = 0;
  #lastActivityMs: number;

  /** Timers run from `start` on. */
  constructor(deps: SessionDeps, record: SessionRecord) {
    this.id = record.id;
    this.userId = record.userId;
    this.createdMs = record.createdMs;
    this.#deps = deps;
    this.#state = record.state === "created" ? "created" : "open";
    this.#lastActivityMs = deps.clock.nowMs();
    this.#idle = createIdleTracker(deps.clock);
    this.#ownership = new SessionOwnership(deps, record, {
      state: () => this.#state,
      revokedTokens: () => this.#peers.revokedTokens,
      isLocked: () => this.#peers.isLocked,
      restoreRecords: () => this.#restoreRecords(),
      disconnectClients: () => this.#peers.disconnectAll(),
      migrateClients: (keepOpen) => this.#migrateClients(keepOpen),
      keepClients: () => this.#peers.thawAll(),
      pendingMessages: (epoch) => this.#peers.pendingMessages(epoch),
      lose: () => this.lose(),
    });
    const ownership = this.#ownership;
    this.diary = createSessionDiary({ ...deps, sessionId: record.id, ownership });
    this.#peers = new SessionPeers(deps, record, {
      id: record.id,
      ownership,
      diary: this.diary,
      state: () => this.#state,
      open: () => this.#open(),
      hostArrived: (host) => this.#joins.hostArrived(host),
      receive: (peer, bytes, source) => this.#receive(peer, bytes, source),
      hasRelayedAll: () => this.isHeld && deps.fence.look() === "open",
      guestLeft: (guest) => this.#requests.forget(guest),
      hostLeft: (cause) => this.end(CLOSE_CAUSES[cause]),
    });
    const peers = this.#peers.byId;
    const relayIds = createRelayIds(deps.relayKeys, record.id);
    this.#requests = createPendingRequests({
      clock: deps.clock,
      fail: ({ requester, id }) => peers.get(requester)?.send(requestFailure(id)),
    });
    this.#joins = new Joins({
      ...deps,
      sessionId: record.id,
      relayIds,
      writeQueue: ownership.writes,
      host: () => this.#peers.host,
      nextClock: () => ownership.nextClock(),
      onFailure: (error) => ownership.reportFailure(error),
    });
    this.#relay = createRelay({
      peers,
      requests: this.#requests,
      relayIds,
      counters: deps.counters,
      acceptsVersion: deps.acceptsVersion,
      epoch: () => this.#ownership.epoch,
      onAccepted: (sender) => this.#peers.settle(sender),
      onBroadcast: (sender) => this.#idle.noteBroadcast(sender.id),
      onLeave: (sender) => this.#peers.leave(sender, "left"),
      onJoinAnswer: (pollToken, host, message) => this.#joins.answer(pollToken, host, message),
    });
  }

  // --- state ---

  /** Rises once a session that was created without the store is recorded. */
  get epoch(): number {
    return this.#ownership.epoch;
  }

  /** Whether this worker serves it: false once it is closed or lost. */
  get isLive(): boolean {
    return this.#state === "created" || this.#state === "open";
  }

  /** Whether this worker serves it and no other worker can. */
  get isHeld(): boolean {
    return this.isLive && !this.#ownership.isFenced;
  }

  get isOpen(): boolean {
    return this.#state === "open";
  }

  get isClosed(): boolean {
    return this.#state === "closed";
  }

  /** Bytes received from peers since this worker has the session. */
  get relayedBytes(): number {
    return this.#relayedBytes;
  }

  /** Time since the last message, in ms. */
  get silentMs(): number {
    return this.#deps.clock.nowMs() - this.#lastActivityMs;
  }

  /** Time since anyone worked in it, in ms: open clients exchange messages even when nobody types. */
  get idleMs(): number {
    return this.#idle.ms;
  }

  /** Number of connected peers. */
  get connections(): number {
    return this.#peers.connections;
  }

  /** Connected peers and those that may still come back. */
  get peers(): Iterable<Peer> {
    return this.#peers.byId.values();
  }

  hasPeer(id: PeerId): boolean {
    return this.#peers.byId.has(id);
  }

  // --- begin ---

  /** Starts the timers: recorded peers have 30 s to come back, a host that never came has 60 s. */
  start(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    this.#peers.awaitReturns();
    if (this.#peers.host !== undefined) return;
    const { clock } = this.#deps;
    this.#hostTimer =
      this.#state === "created"
        ? clock.after(UNOPENED_SESSION_MS, () => this.#expireUnopened())
        : clock.after(AWAY_MS, () => this.end("host away"));
  }

  /** Queues what the previous owner could not deliver. Call it before `start`. */
  unpack(pendingMessages: PendingMessages): void {
    this.#peers.preload(pendingMessages);
  }

  /** Restores the waiting join requests of a resumed session from the store. */
  restoreJoins(): Promise<void> {
    return unlessAway(this.#joins.restore());
  }

  /** Records, once the store is back, a session that was created without it. `record` resolves with its epoch. */
  recordLate(record: () => Promise<number | "lost">): void {
    this.#ownership.recordLate(record);
  }

  // --- join requests and peers ---

  /**
   * Asks the host, now or when it is back, whether `user` may join. The answer is written to the ticket `pollToken` (kind
   * `join`, see join-answer.ts) within 300 s. `full`: too many peers or waiting requests, in all or of this user. `locked`: an
   * operator lets nobody in. `unopened`: the host has not come yet, so the session does not exist for others. Rejects with
   * `StoreAwayError`.
   */
  async requestJoin(user: UserRecord, how: JoinOptions = {}): Promise<JoinRequest> {
    if (this.#state !== "open") return { outcome: "unopened" };
    if (this.#peers.isLocked) return { outcome: "locked" };
    const limit = Math.min(this.#deps.settings.maxPeersPerSession, how.maxPeople ?? NO_LIMIT);
    if (this.#peers.byId.size >= limit || this.#joins.isFull(user.id, limit)) {
      this.#deps.counters.count("worker.joins", "full");
      return { outcome: "full" };
    }
    return { outcome: "asked", pollToken: await this.#joins.ask(user, how) };
  }

  /** Restores the ticket of a waiting join request that the store has lost. `false`: no such request waits here. */
  putJoinBack(pollToken: string): Promise<boolean> {
    return this.#joins.putBack(pollToken);
  }

  /**
   * Decides about a client that connects. A new peer is stored before this resolves, so that it survives this worker from
   * the moment others see it; while the store is away it is admitted and stored later. Follow with `attach`: a peer
   * without a connection is removed after 30 s.
   */
  admit(token: RoomToken, introduction: Introduction, maxPeople = NO_LIMIT): Promise<Admission> {
    return this.#peers.admit(token, introduction, maxPeople);
  }

  /** Gives an admitted peer its connection: a new peer is announced, a returning one gets the messages that waited. */
  attach(peer: Peer, connection: Connection): void {
    this.#peers.attach(peer, connection);
  }

  /** A peer's client has opened a WebSocket: `connection` goes on where `previous` ends. */
  upgrade(peer: Peer, previous: Connection, connection: Connection): void {
    this.#peers.upgrade(peer, previous, connection);
  }

  /** The peer whose WebSocket a ticket is for, if it can go on here; follow with `resume` at once. Each ticket works once. */
  findResumable(ticket: ResumeTicket): Peer | ResumeRefusal {
    return this.#peers.findResumable(ticket);
  }

  /** Goes on with a peer's WebSocket that another worker has begun. */
  resume(peer: Peer, connection: Connection, state: ResumeState): void {
    this.#deps.counters.count("worker.resume.websockets", state.cause);
    this.#peers.attach(peer, connection, state);
  }

  /** Called for each message: keep it short. The path of a message is drawn in peers/relay.ts. */
  #receive(peer: Peer, bytes: Buffer, source: DeliveryMark | undefined): void {
    this.#relayedBytes += bytes.length;
    this.#lastActivityMs = this.#deps.clock.nowMs();
    this.#idle.note(this.#peers.byId.size);
    // Input that was still under way when the peer left or the session ended.
    if (!this.isLive || this.#peers.byId.get(peer.id) !== peer) return;
    const state = this.#ownership.isFenced ? "shut" : this.#deps.fence.look();
    if (state === "open") this.#relay.receive(peer, bytes, source);
    else if (state === "undecided") this.#receiveLater(peer, bytes, source);
    else this.#deps.counters.count("worker.messages_dropped", "fenced");
  }

  #receiveLater(peer: Peer, bytes: Buffer, source: DeliveryMark | undefined): void {
    this.#deps.fence.hold({
      run: () => this.#receive(peer, bytes, source),
      refuse: () => this.#deps.counters.count("worker.messages_dropped", "fenced"),
    });
  }

  #open(): Promise<"done" | "lost" | "later"> {
    this.#hostTimer?.cancel();
    if (this.#state === "created") this.#state = "open";
    return this.#ownership.change({ kind: "open" });
  }

  // --- operators ---

  /** See `SessionPeers.remove`. */
  removePeer(id: PeerId, by?: Sender): ReturnType<SessionPeers["remove"]> {
    return this.#peers.remove(id, by);
  }

  /** Takes the people of a sign-in that has ended out. They are shown `message`; without its host, the session ends. */
  signOut(signIn: string, message: string): void {
    if (this.isHeld) this.#peers.signOut(signIn, message);
  }

  /** Lets no new guests in, or does again. Those who are in it stay, and may return. */
  lock(isLocked: boolean, by?: Sender): void {
    this.#peers.lock(isLocked, by);
    if (isLocked) this.#joins.rejectAll("locked", operatorParty(by));
  }

  // --- ownership ---

  /** Another worker may own it by now: disconnects its clients, and nothing is relayed before `confirm`. */
  fence(): void {
    this.#ownership.fence();
  }

  /** See `SessionOwnership.confirm`. */
  confirm(): Promise<"held" | "lost"> {
    return this.#ownership.confirm();
  }

  /** The record of a session that is closed; undefined for any other. */
  tombstone(untilMs: number): Reassertion | undefined {
    return this.#ownership.tombstone(untilMs);
  }

  /** See `SessionOwnership.handOver`. */
  handOver(
    successor: WorkerId,
    deliver: (pendingMessages: PendingMessages) => Promise<void>,
    cause: HandoverCause,
    keepOpen = false,
  ): Promise<HandoverOutcome> {
    return this.#ownership.handOver(successor, deliver, cause, keepOpen);
  }

  /** Resolves when everything is written, or the store is away. */
  settled(): Promise<void> {
    return this.#ownership.writes.settled();
  }

  async #migrateClients(keepOpen: boolean): Promise<MoveOutcome> {
    const moved = await this.#peers.migrateAll(keepOpen);
    await this.#joins.settled();
    return moved;
  }

  async #restoreRecords(): Promise<void> {
    this.#peers.restoreRecords();
    await this.#joins.putAllBack();
  }

  // --- end ---

  /**
   * This worker stops and keeps the session in the store: what was sent is relayed, and nothing more is. `lose` follows; then
   * WebSockets that can wait for the session's next owner do.
   */
  async freeze(): Promise<void> {
    if (this.isHeld) await this.#peers.freezeAll();
  }

  /** Another worker owns it, or this one stops: clients reconnect, and nothing is changed in the store. */
  lose(): void {
    if (!this.isLive) return;
    this.#state = "lost";
    this.#stopTimers();
    this.#joins.close();
    this.#ownership.writes.close();
    this.#peers.disconnectAll();
    this.#deps.onEnded(this);
  }

  /** Closes it for all peers. `by`: the operator. */
  end(cause: CloseCause, by?: Sender): void {
    if (!this.isLive) return;
    const { counters, usage } = this.#deps;
    this.#joins.rejectAll("closed", EDGE);
    this.diary.closed(cause, this.peers, by);
    this.#state = "closed";
    this.#stopTimers();
    this.#peers.endAll(roomClosed(this.#peers.host?.id ?? ""));
    void this.#ownership.close((result) => usage.closed(result));
    counters.count("worker.sessions_closed", cause);
    void this.#retire();
  }

  /** The host never came. The store forgets the session by itself. */
  #expireUnopened(): void {
    if (this.#state !== "created") return;
    this.#state = "closed";
    this.diary.expired();
    this.#stopTimers();
    this.#ownership.writes.close();
    this.#deps.counters.count("worker.sessions_closed", "never opened");
    this.#deps.onEnded(this);
  }

  /** A closed session is kept until the store has its tombstone: otherwise it would be resumed. */
  async #retire(): Promise<void> {
    const { writes } = this.#ownership;
    while (writes.pending > 0) {
      await writes.settled();
      if (writes.pending > 0) await sleep(this.#deps.clock, CLOSE_RETRY_MS);
    }
    this.#deps.onEnded(this);
  }

  #stopTimers(): void {
    this.#hostTimer?.cancel();
    this.#peers.stopTimers();
    this.#requests.close();
  }
}
