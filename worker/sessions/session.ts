/**
 * One session: its peers, who hosts it, and how it lives and ends. It is `created` until the host's connection comes,
 * then `open`, and ends `closed` (for good) or `lost` (another worker has it, or this one stops).
 */
import { type Clock, sleep, type Timer } from "../../shared/base/clock.ts";
import type { Incarnation, PeerId, SessionId, WorkerId } from "../../shared/base/ids.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import type { Settings } from "../../shared/settings/read-settings.ts";
import {
  type EdgeEvent,
  type Holder,
  type PeerRecord,
  type Reassertion,
  type SessionRecord,
  type Store,
  StoreAwayError,
  UNOPENED_SESSION_MS,
  type UserRecord,
} from "../../shared/store/store.ts";
import { ROOM_TOKEN_MS, type RoomToken, type Tokens } from "../login/tokens.ts";
import type { Fence } from "./fence.ts";
import { createIdleTracker, type IdleTracker } from "./idle.ts";
import { createJoins, type Joins } from "./joins.ts";
import { type Connection, Peer } from "./peer.ts";
import { createPendingRequests, type PendingRequests } from "./pending-requests.ts";
import { createReconnectLog, type ReconnectLog } from "./reconnect-log.ts";
import { createMessageRelay, type MessageRelay } from "./relay-messages.ts";
import {
  type OutboundMessage,
  peerInfo,
  requestFailure,
  roomClosed,
  roomJoined,
  roomLeft,
} from "./wire/outbound.ts";
import type { VersionCheck } from "./wire/protocol.ts";
import { createRelayIds } from "./wire/relay-id.ts";
import { createWriteQueue, type WriteQueue } from "./write-queue.ts";

/** What a client says of itself when it connects. */
export interface Introduction {
  /** Base64 SPKI. */
  readonly publicKey: string;
  readonly client: string;
  readonly compression: readonly string[];
}

export type Admission =
  | { readonly outcome: "admitted"; readonly peer: Peer }
  /** For good: the client must not come back with this token. */
  | { readonly outcome: "refused"; readonly reason: string }
  /** Another worker has the session: the client shall come back and be routed there. */
  | { readonly outcome: "lost" };

export type JoinRequest =
  | { readonly outcome: "asked"; readonly pollToken: string }
  | { readonly outcome: "full" }
  | { readonly outcome: "unopened" };

/** What goes with a session that is handed over: what its peers were not sent any more, oldest first. */
export interface PendingMessages {
  /** Under which it was collected. */
  readonly epoch: number;
  readonly waiting: readonly {
    readonly id: PeerId;
    readonly parcels: readonly OutboundMessage[];
  }[];
}

/** Why a session is handed over, as its history tells it. */
export type HandoverCause = "drain" | "rebalance";

export interface SessionNeeds {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly tokens: Tokens;
  readonly relayKey: Buffer;
  readonly settings: Pick<Settings, "maxPeersPerSession" | "maxBufferBytes">;
  /** Messages of other versions of the protocol are dropped. */
  readonly acceptsVersion: VersionCheck;
  readonly self: { readonly id: WorkerId; readonly incarnation: Incarnation };
  readonly fence: Pick<Fence, "look" | "hold">;
  /** Called once, when nothing more is to be done: closed and written, or lost. */
  readonly onEnded: (session: Session) => void;
}

/**
 * A client on a slow line or a busy machine answers a good-bye within this; then it is cut off, and what it said and was
 * not read yet is lost. The others of its session wait meanwhile: a longer pause is better than a lost message.
 */
const PARTING_MS = 3000;
const PARTING_STEP_MS = 5;
/** A peer has so long to come back; clients give up after the same time. */
export const AWAY_MS = 30_000;
/** Tombstones live as long as a token that was signed a moment before, and the skew that is allowed for. */
export const TOMBSTONE_MS = ROOM_TOKEN_MS + 120_000;
/** Join requests of one user that wait: the host must not be asked by one person for everybody's places. */
const MAX_WAITING_PER_USER = 5;
/** Tokens of those who left that are remembered, as many as the store keeps; with more, the first one is forgotten. */
const MAX_LEFT = 1000;
/** Writes that wait for the store before nobody new is let in: keeps the list short when the store is away for long. */
const MAX_PENDING_WRITES = 1000;

export class Session {
  readonly id: SessionId;
  /** Who created it. */
  readonly userId: string;
  readonly #needs: SessionNeeds;
  readonly #peers = new Map<PeerId, Peer>();
  readonly #arriving = new Map<PeerId, Promise<Admission>>();
  readonly #awayTimers = new Map<PeerId, Timer>();
  readonly #leftTokens: Set<string>;
  readonly #ledger: WriteQueue;
  readonly #requests: PendingRequests;
  readonly #joins: Joins;
  readonly #traffic: MessageRelay;
  readonly #returns: ReconnectLog;
  #state: "created" | "open" | "closed" | "lost";
  #epoch: number;
  #clock: number;
  #hostTimer: Timer | undefined;
  #isStarted = false;
  /** Whether others may have it by now: nothing is relayed before the store has said that they have not. */
  #isFenced = false;
  /** How often that came about. */
  #fencings = 0;
  /** Whether the store was never told of it, because it was away when it began. */
  #isUnrecorded = false;
  #confirming: Promise<"held" | "lost"> | undefined;
  readonly #origin: Pick<SessionRecord, "userId" | "alias" | "createdMs">;

  readonly #calm: IdleTracker;
  #relayedBytes = 0;
  #lastActivityMs: number;
  /** Whether it is being handed over: nobody new is let in here. */
  #isLeaving = false;
  /** To whom the store was asked to give it; it may have done so although it did not answer. */
  #heir: WorkerId | undefined;

  /** Call `start` when it may begin to live. */
  constructor(needs: SessionNeeds, record: SessionRecord) {
    this.#lastActivityMs = needs.clock.nowMs();
    this.#calm = createIdleTracker(needs.clock);
    this.id = record.id;
    this.userId = record.userId;
    const { userId, alias, createdMs } = record;
    this.#origin = { userId, createdMs, ...(alias !== undefined && { alias }) };
    this.#needs = needs;
    this.#epoch = record.epoch;
    this.#clock = record.clock;
    this.#state = record.state === "created" ? "created" : "open";
    this.#leftTokens = new Set(record.revokedTokens);
    const relayIds = createRelayIds(needs.relayKey, record.id);
    this.#ledger = createWriteQueue({
      clock: needs.clock,
      holder: () => this.#holder(),
      insist: () => this.confirm(),
      onLost: () => this.#yieldToOwner(),
      onFailure: (error) => this.#report(error),
    });
    this.#requests = createPendingRequests({
      clock: needs.clock,
      fail: ({ requester, id }) => this.#peers.get(requester)?.send(requestFailure(id)),
    });
    this.#joins = createJoins({
      ...needs,
      sessionId: record.id,
      relayIds,
      writeQueue: this.#ledger,
      host: () => this.#host(),
      nextClock: () => this.#nextClock(),
      onFailure: (error) => this.#report(error),
    });
    this.#traffic = createMessageRelay({
      peers: this.#peers,
      requests: this.#requests,
      relayIds,
      counters: needs.counters,
      acceptsVersion: needs.acceptsVersion,
      epoch: () => this.#epoch,
      onHeard: (sender) => this.#settle(sender),
      onLeave: (sender) => this.#leave(sender, "left"),
      onJoinAnswer: (pollToken, host, message) => this.#joins.answer(pollToken, host, message),
    });
    this.#returns = createReconnectLog({
      clock: needs.clock,
      note: (cause) => this.note("returned", cause),
    });
    // Peers are stored before they are announced: of one that has not said anything yet, it is not known.
    for (const peer of record.peers) {
      this.#peers.set(peer.id, this.#newPeer(peer, peer.settled ? "yes" : "perhaps"));
    }
  }

  /** Another one, higher, once a session that was created without a store is recorded. */
  get epoch(): number {
    return this.#epoch;
  }

  /** Whether this worker serves it: false once it has ended or was lost. */
  get isLive(): boolean {
    return this.#state === "created" || this.#state === "open";
  }

  /** Whether this worker serves it, and nobody else can be serving it. */
  get isHeld(): boolean {
    return this.isLive && !this.#isFenced;
  }

  /** Whether its host has come, and it has not ended. */
  get isOpen(): boolean {
    return this.#state === "open";
  }

  /** Whether it has ended for good. */
  get isClosed(): boolean {
    return this.#state === "closed";
  }

  /** Bytes that came from its peers since this worker has it. */
  get relayedBytes(): number {
    return this.#relayedBytes;
  }

  /** How long no peer has said anything, in ms. */
  get idleMs(): number {
    return this.#needs.clock.nowMs() - this.#lastActivityMs;
  }

  /** How long nobody has worked in it, in ms: clients say something to each other also when nobody does. */
  get calmMs(): number {
    return this.#calm.ms;
  }

  /** Peers that are connected now. */
  get connections(): number {
    let count = 0;
    for (const peer of this.#peers.values()) if (peer.isConnected) count++;
    return count;
  }

  /** Those who are there and those who are waited for. */
  get peers(): Iterable<Peer> {
    return this.#peers.values();
  }

  /** Whether this peer is there or waited for. */
  hasPeer(id: PeerId): boolean {
    return this.#peers.has(id);
  }

  /** Begins: whoever is stored has 30 s to come back, a host that was never there 60 s to come. */
  start(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    for (const peer of this.#peers.values()) if (!peer.isConnected) this.#awaitReturn(peer);
    if (this.#host() !== undefined) return;
    if (this.#state === "created") {
      this.#hostTimer = this.#needs.clock.after(UNOPENED_SESSION_MS, () => this.#expireUnopened());
    } else {
      this.#hostTimer = this.#needs.clock.after(AWAY_MS, () => this.#close("host away"));
    }
  }

  /** Takes up the join requests that wait in the store; for a session that was resumed. */
  async restoreJoins(): Promise<void> {
    try {
      await this.#joins.restore();
    } catch (error) {
      if (!(error instanceof StoreAwayError)) throw error;
    }
  }

  /** Records, when the store is back, a session that was created without it. `record` resolves with its epoch. */
  recordLate(record: () => Promise<number | "lost">): void {
    this.#isUnrecorded = true;
    void this.#ledger.write(async () => {
      const epoch = await record();
      if (epoch === "lost") return "lost";
      this.#isUnrecorded = false;
      if (epoch >= this.#epoch) {
        this.#epoch = epoch;
        return "done";
      }
      // The clock here is ahead of the store's, and balancers have heard the epoch that it gave: theirs must not fall.
      return (await this.#reassert()) === "held" ? "done" : "lost";
    });
  }

  /**
   * Asks the host, now or when it is back, whether `user` may join; the answer comes in the ticket `pollToken` (kind
   * `join`, see join-answer.ts), within 300 s. `full`: too many peers or waiting requests, in all or of this user. `unopened`: the host has not
   * come yet, so for others the session does not exist. Rejects with `StoreAwayError`.
   */
  async requestJoin(user: UserRecord): Promise<JoinRequest> {
    if (this.#state !== "open") return { outcome: "unopened" };
    const most = this.#needs.settings.maxPeersPerSession;
    if (
      this.#peers.size >= most ||
      this.#joins.waiting >= most ||
      this.#joins.waitingOf(user.id) >= MAX_WAITING_PER_USER
    ) {
      this.#needs.counters.count("worker.joins", "full");
      return { outcome: "full" };
    }
    return { outcome: "asked", pollToken: await this.#joins.ask(user) };
  }

  /** Puts the ticket of a request to join back that waits here and that the store has lost. `false`: it does not wait. */
  putJoinBack(pollToken: string): Promise<boolean> {
    return this.#joins.putBack(pollToken);
  }

  /**
   * Judges who connects. A peer that is new is stored before this resolves, so that it survives this worker from the
   * moment that others hear of it; while the store is away it is let in all the same and stored later. Follow with
   * `attach`; a peer that is not attached within 30 s is gone.
   */
  admit(token: RoomToken, introduction: Introduction): Promise<Admission> {
    const verdict = this.#judge(token, introduction);
    if (verdict !== undefined) return Promise.resolve(verdict);
    // Two connections with one fresh token become one peer.
    const arriving = this.#arriving.get(token.peerId);
    if (arriving !== undefined) return arriving;
    const arrival = this.#arrive(token, introduction).finally(() =>
      this.#arriving.delete(token.peerId),
    );
    this.#arriving.set(token.peerId, arrival);
    return arrival;
  }

  /** Gives an admitted peer its connection: it is announced when it is new, and gets what waited when it is back. */
  attach(peer: Peer, connection: Connection): void {
    // While it parts from the connection before, what it said by that one goes first: it comes back once more.
    if (this.#state === "lost" || this.#isFenced || this.#isLeaving || peer.isLeaving) {
      connection.close();
      return;
    }
    // It left, or the session ended, while it was admitted.
    if (this.#peers.get(peer.id) !== peer || !this.isLive) {
      connection.end();
      return;
    }
    const attached = peer.attach(connection, {
      message: (bytes) => this.#take(peer, bytes),
      away: () => this.#awaitReturn(peer),
    });
    if (!attached) return;
    this.#stopAwaiting(peer);
    this.#returns.connected(peer.record, peer.announced !== "no");
    // What it was told here and its connection did not send, it gets by this one; it is not announced again.
    if (peer.announced !== "yes") this.#announce(peer);
  }

  /** Others may have it by now: clients are sent to where it is, and nothing is done for it before `confirm`. */
  fence(): void {
    if (!this.isLive) return;
    this.#isFenced = true;
    this.#fencings++;
    for (const peer of this.#peers.values()) peer.disconnect();
  }

  /**
   * Asks the store whether this worker holds the session still, and tells it what it does not know any more. With `held` it
   * goes on, with `lost` it has ended here. Rejects with `StoreAwayError`.
   */
  confirm(): Promise<"held" | "lost"> {
    this.#confirming ??= this.#reassert().finally(() => {
      this.#confirming = undefined;
    });
    return this.#confirming;
  }

  /** What the store must know of a session that has ended here; undefined for one that was lost. */
  tombstone(untilMs: number): Reassertion | undefined {
    return this.#state === "closed" ? this.#reassertion(untilMs) : undefined;
  }

  /**
   * Hands the session over to `heir`: peers are asked to come back, what they still say is relayed, what nobody got any
   * more is given to `deliver`, and then the session is released. `kept`: it is still here, because the store or the heir
   * did not answer. When it was the release that got no answer, the heir may have the session: nobody is let in here
   * before the store has said whose it is. `gone`: it ended or was lost meanwhile.
   */
  async handOver(
    heir: WorkerId,
    deliver: (pendingMessages: PendingMessages) => Promise<void>,
    cause: HandoverCause,
  ): Promise<"handed" | "kept" | "gone"> {
    if (!this.isHeld || this.#isLeaving) return this.isLive ? "kept" : "gone";
    // Nobody is sent away for what cannot be written.
    if (this.#needs.store.health.state !== "up") return "kept";
    this.#isLeaving = true;
    try {
      await this.#partFromPeers();
      await this.#joins.settled();
      await this.#ledger.settled();
      if (!this.isHeld || this.#ledger.pending > 0) return this.isLive ? "kept" : "gone";
      await deliver(this.#baggage());
      if (!this.isHeld) return this.isLive ? "kept" : "gone";
      return await this.#giveTo(heir, cause);
    } catch (error) {
      this.#needs.log.warn({ session: label(this.id), err: error }, "session was not handed over");
      return this.isLive ? "kept" : "gone";
    } finally {
      this.#isLeaving = false;
    }
  }

  /** Releases it. The store is asked until it answers; what it did without an answer is not undone. */
  async #giveTo(heir: WorkerId, cause: HandoverCause): Promise<"handed" | "kept" | "gone"> {
    this.note("released", cause);
    this.#heir = heir;
    const told = await this.#ledger.write(async () =>
      (await this.#reassert()) === "held" ? "done" : "lost",
    );
    if (told === "later" && this.isLive) this.fence();
    if (this.isLive) return "kept";
    return this.#isLost() && this.#heir === heir ? "handed" : "gone";
  }

  /** Asks all peers to come back, and waits until they have gone; a client that does not go in time is cut off. */
  async #partFromPeers(): Promise<void> {
    const { clock, log } = this.#needs;
    for (const peer of this.#peers.values()) peer.leave();
    const untilMs = clock.nowMs() + PARTING_MS;
    while (this.connections > 0 && clock.nowMs() < untilMs) await sleep(clock, PARTING_STEP_MS);
    const clients = this.connections;
    if (clients > 0) {
      log.info(
        { session: label(this.id), clients },
        "clients that did not part in time are cut off",
      );
    }
    for (const peer of this.#peers.values()) peer.disconnect();
  }

  #baggage(): PendingMessages {
    const waiting = [...this.#peers.values()].map(({ id, waiting }) => ({ id, parcels: waiting }));
    return { epoch: this.#epoch, waiting: waiting.filter(({ parcels }) => parcels.length > 0) };
  }

  /** Takes what the worker that had the session before could not deliver. Call it before `start`. */
  unpack({ waiting }: PendingMessages): void {
    for (const { id, parcels } of waiting) this.#peers.get(id)?.preload(parcels);
  }

  /** Another worker has the session, or this one stops: peers are sent there, and nothing is changed in the store. */
  lose(): void {
    if (!this.isLive) return;
    this.#state = "lost";
    this.#stop();
    this.#joins.close();
    this.#ledger.close();
    for (const peer of this.#peers.values()) peer.disconnect();
    this.#needs.onEnded(this);
  }

  /** Writes a line into the history of ownership. */
  note(kind: EdgeEvent["kind"], cause: string): void {
    void this.#ledger.write(async ({ sessionId, owner, epoch }) => {
      await this.#needs.store.appendEvent({ kind, sessionId, worker: owner, epoch, cause });
      return "done";
    });
  }

  /** Resolves when all is written, or the store is away. */
  settled(): Promise<void> {
    return this.#ledger.settled();
  }

  // --- coming ---

  #judge(token: RoomToken, { publicKey }: Introduction): Admission | undefined {
    if (this.#state === "lost" || this.#isFenced || this.#isLeaving) return { outcome: "lost" };
    if (this.#state === "closed") return refused("closed");
    const known = this.#peers.get(token.peerId);
    if (known !== undefined) {
      if (known.record.tokenId !== token.tokenId) return refused("token");
      // Clients keep their key as long as their token. With another one it is somebody else's hand on the token; others go
      // on encrypting for the first.
      if (known.record.publicKey !== publicKey) return refused("other key");
      // Also with an expired token: a peer of an open session may always return.
      return { outcome: "admitted", peer: known };
    }
    if (this.#leftTokens.has(token.tokenId)) return refused("left");
    if (token.expired) return refused("expired");
    if (token.host) return this.#host() === undefined ? undefined : refused("token");
    if (this.#state === "created") return refused("unopened");
    if (this.#ledger.pending >= MAX_PENDING_WRITES) return refused("store away");
    const most = this.#needs.settings.maxPeersPerSession;
    return this.#peers.size + this.#arriving.size >= most ? refused("full") : undefined;
  }

  async #arrive(token: RoomToken, introduction: Introduction): Promise<Admission> {
    const record: PeerRecord = {
      id: token.peerId,
      host: token.host,
      user: token.user,
      ...introduction,
      tokenId: token.tokenId,
      settled: false,
    };
    if ((await this.#put(record)) === "lost" || this.#isLost()) return { outcome: "lost" };
    if (token.host && (await this.#open()) === "lost") return { outcome: "lost" };
    if (!this.isLive) return refused("closed");
    const peer = this.#newPeer(record, "no");
    this.#peers.set(peer.id, peer);
    this.#awaitReturn(peer);
    if (peer.record.host) this.#joins.hostArrived(peer);
    return { outcome: "admitted", peer };
  }

  #open(): Promise<"done" | "lost" | "later"> {
    this.#hostTimer?.cancel();
    if (this.#state === "created") this.#state = "open";
    return this.#ledger.write((holder) => this.#needs.store.openSession(holder));
  }

  #announce(peer: Peer): void {
    const isFirst = peer.announced === "no";
    peer.announced = "yes";
    // The host tells nobody: it is the first.
    if (!peer.record.host) this.#tellOthers(peer, roomJoined(peer.record));
    peer.send(peerInfo(peer.record));
    if (isFirst) this.#noteArrival(peer);
  }

  #noteArrival(peer: Peer): void {
    this.note("joined", peer.record.host ? "host" : "guest");
    this.#needs.log.info(
      {
        session: label(this.id),
        peer: peer.id,
        user: peer.record.user.name,
        client: peer.record.client,
      },
      peer.record.host ? "host joined" : "guest joined",
    );
  }

  /** The first message shows that the peer knows that it is in: a later owner need not announce it again. */
  #settle(peer: Peer): void {
    if (peer.record.settled) return;
    peer.record = { ...peer.record, settled: true };
    void this.#put(peer.record);
  }

  // --- being there ---

  #take(peer: Peer, bytes: Buffer): void {
    this.#relayedBytes += bytes.length;
    this.#lastActivityMs = this.#needs.clock.nowMs();
    this.#calm.note(this.#peers.size);
    // A tail that was still under way when the peer left or the session ended.
    if (!this.isLive || this.#peers.get(peer.id) !== peer) return;
    const state = this.#isFenced ? "shut" : this.#needs.fence.look();
    if (state === "open") this.#traffic.take(peer, bytes);
    else if (state === "undecided") this.#takeLater(peer, bytes);
    else this.#needs.counters.count("worker.messages_dropped", "fenced");
  }

  #takeLater(peer: Peer, bytes: Buffer): void {
    this.#needs.fence.hold({
      run: () => this.#take(peer, bytes),
      refuse: () => this.#needs.counters.count("worker.messages_dropped", "fenced"),
    });
  }

  #awaitReturn(peer: Peer): void {
    if (!this.isLive) return;
    this.#returns.lost(peer.id);
    this.#awayTimers.get(peer.id)?.cancel();
    this.#awayTimers.set(
      peer.id,
      this.#needs.clock.after(AWAY_MS, () => this.#leave(peer, "away")),
    );
  }

  #stopAwaiting(peer: Peer): void {
    this.#awayTimers.get(peer.id)?.cancel();
    this.#awayTimers.delete(peer.id);
  }

  // --- going ---

  #leave(peer: Peer, cause: "left" | "away"): void {
    if (!this.isLive || this.#peers.get(peer.id) !== peer) return;
    // It may have come back to another worker; whoever has the session then decides.
    if (this.#isFenced) this.#awaitReturn(peer);
    else if (peer.record.host) this.#close(cause === "left" ? "host left" : "host away");
    else this.#leaveAsGuest(peer, cause);
  }

  #leaveAsGuest(peer: Peer, cause: "left" | "away"): void {
    this.#stopAwaiting(peer);
    this.#returns.forget(peer.id);
    this.#peers.delete(peer.id);
    this.#bury(peer.record.tokenId);
    if (peer.announced !== "no") this.#tellOthers(peer, roomLeft(peer.record));
    this.#requests.forget(peer.id);
    peer.end();
    void this.#ledger.write(async (holder) =>
      this.#needs.store.removePeer(holder, peer.id, await this.#tombstoneEnd()),
    );
    this.note("left", cause);
    this.#needs.log.info({ session: label(this.id), peer: peer.id, cause }, "guest left");
  }

  #bury(tokenId: string): void {
    const [oldest] = this.#leftTokens;
    if (this.#leftTokens.size >= MAX_LEFT && oldest !== undefined) this.#leftTokens.delete(oldest);
    this.#leftTokens.add(tokenId);
  }

  /** An operator ends it, for everybody. */
  end(): void {
    this.#close("ended by the operator");
  }

  #close(cause: "host left" | "host away" | "ended by the operator"): void {
    if (!this.isLive) return;
    const host = this.#host();
    this.#state = "closed";
    this.#stop();
    for (const peer of this.#peers.values()) {
      if (peer !== host) peer.send(roomClosed(host?.id ?? ""));
      peer.end();
    }
    this.#joins.rejectAll();
    this.note("closed", cause);
    void this.#ledger.write(async (holder) =>
      this.#needs.store.closeSession(holder, await this.#tombstoneEnd()),
    );
    this.#needs.counters.count("worker.sessions_closed", cause);
    this.#needs.log.info({ session: label(this.id), cause }, "session closed");
    void this.#retire();
  }

  /** The host never came; the store forgets the session by itself. */
  #expireUnopened(): void {
    if (this.#state !== "created") return;
    this.#state = "closed";
    this.#stop();
    this.#ledger.close();
    this.#needs.counters.count("worker.sessions_closed", "never opened");
    this.#needs.onEnded(this);
  }

  #stop(): void {
    this.#hostTimer?.cancel();
    for (const timer of this.#awayTimers.values()) timer.cancel();
    this.#awayTimers.clear();
    this.#requests.close();
  }

  /** A closed session is remembered until the store knows it: otherwise it would be resumed. */
  async #retire(): Promise<void> {
    while (this.#ledger.pending > 0) {
      await this.#ledger.settled();
      if (this.#ledger.pending > 0) await sleep(this.#needs.clock, 1000);
    }
    this.#needs.onEnded(this);
  }

  /** The store says that another worker has the session now. */
  #yieldToOwner(): void {
    if (!this.isLive) return;
    this.#needs.counters.count("worker.sessions_closed", "lost");
    this.#needs.log.warn({ session: label(this.id) }, "session was taken over by another worker");
    this.lose();
  }

  // --- the store ---

  #holder(): Holder {
    return { sessionId: this.id, owner: this.#needs.self.id, epoch: this.#epoch };
  }

  async #reassert(): Promise<"held" | "lost"> {
    if (this.#state === "lost") return "lost";
    // Nobody else can know it.
    if (this.#isUnrecorded) return this.#holdOn();
    if (this.#heir !== undefined && this.isLive) {
      if ((await this.#needs.store.releaseSession(this.#holder(), this.#heir)) === "done") {
        this.lose();
        return "lost";
      }
      // The heir has it already, or the store does not know it any more.
      this.#heir = undefined;
    }
    const fencings = this.#fencings;
    const untilMs = await this.#tombstoneEnd();
    const outcome = await this.#needs.store.reassertSession(this.#reassertion(untilMs));
    // It may have ended while the store was asked.
    if (this.#isLost()) return "lost";
    if (outcome === "lost") {
      this.#yieldToOwner();
      return "lost";
    }
    if (outcome === "written" && this.isLive) {
      for (const peer of this.#peers.values()) void this.#put(peer.record);
      await this.#joins.putAllBack();
      this.#needs.counters.count("worker.sessions_reasserted");
      this.note("resumed", "reasserted");
    }
    // It was fenced once more meanwhile: an answer from before says nothing about now.
    return fencings === this.#fencings ? this.#holdOn() : this.#reassert();
  }

  #holdOn(): "held" {
    this.#isFenced = false;
    return "held";
  }

  #reassertion(untilMs: number): Reassertion {
    const { self } = this.#needs;
    return {
      ...this.#origin,
      id: this.id,
      owner: self.id,
      incarnation: self.incarnation,
      epoch: this.#epoch,
      state: this.#state === "lost" ? "closed" : this.#state,
      clock: this.#clock,
      revokedTokens: [...this.#leftTokens],
      untilMs,
    };
  }

  #put(record: PeerRecord): Promise<"done" | "lost" | "later"> {
    return this.#ledger.write((holder) => this.#needs.store.putPeer(holder, record));
  }

  async #tombstoneEnd(): Promise<number> {
    return (await this.#needs.store.timeMs()) + TOMBSTONE_MS;
  }

  /** While the store is away the session counts on by itself: what matters is that no two tokens are alike. */
  async #nextClock(): Promise<number> {
    const { store } = this.#needs;
    try {
      let next = await store.nextClock(this.#holder());
      // Perhaps the store has only lost it.
      if (next === "lost" && (await this.confirm()) === "held") {
        next = await store.nextClock(this.#holder());
      }
      if (next !== "lost") this.#clock = Math.max(next, this.#clock + 1);
      else this.#yieldToOwner();
    } catch (error) {
      if (!(error instanceof StoreAwayError)) throw error;
      this.#clock++;
    }
    return this.#clock;
  }

  // --- small things ---

  #host(): Peer | undefined {
    for (const peer of this.#peers.values()) if (peer.record.host) return peer;
    return undefined;
  }

  #isLost(): boolean {
    return this.#state === "lost";
  }

  #newPeer(record: PeerRecord, announced: Peer["announced"]): Peer {
    const { counters, settings } = this.#needs;
    return new Peer(record, { counters, maxBufferBytes: settings.maxBufferBytes, announced });
  }

  #tellOthers(about: Peer, outbound: OutboundMessage): void {
    for (const peer of this.#peers.values()) if (peer !== about) peer.send(outbound);
  }

  #report(error: unknown): void {
    this.#needs.log.error({ session: label(this.id), err: error }, "session could not be written");
  }
}

/** As much of a session's id as a log may show. */
export function label(id: SessionId): string {
  return `${id.slice(0, 6)}…`;
}

function refused(reason: string): Admission {
  return { outcome: "refused", reason };
}
