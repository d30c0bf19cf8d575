/**
 * The peers of one session: who is admitted, when the others hear of it, and when a peer counts as gone. A peer that
 * loses its connection has 30 s to come back; meanwhile its messages wait (peers/peer.ts).
 */

import type { Clock, Timer } from "../../shared/base/clock.ts";
import type { PeerId, SessionId } from "../../shared/base/ids.ts";
import type { Sender } from "../../shared/control/command.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import type { ResumeState } from "../../shared/net/edge-headers.ts";
import type { DeliveryMark } from "../../shared/resume/frames.ts";
import type { Slice } from "../../shared/settings/read-settings.ts";
import type { PeerRecord, SessionRecord } from "../../shared/store/store.ts";
import type { RoomToken } from "../login/tokens.ts";
import type { Admission, Introduction, LeaveCause, ResumeRefusal } from "./admission.ts";
import { type Confirmations, createConfirmations } from "./peers/confirmations.ts";
import { createLeftTokens, type LeftTokens } from "./peers/left-tokens.ts";
import { type Connection, Peer } from "./peers/peer.ts";
import { type MoveOutcome, prepareMove, prepareRestart } from "./peers/prepare-move.ts";
import { createReconnectLog, type ReconnectLog } from "./peers/reconnect-log.ts";
import { createResumeLog, type ResumeLog } from "./peers/resume-log.ts";
import type { PendingMessages } from "./pending-messages.ts";
import type { ResumeTicket } from "./resume-ticket.ts";
import type { SessionDiary } from "./session-diary.ts";
import { type SessionOwnership, type SessionState, shortId } from "./session-ownership.ts";
import type { SessionUsage } from "./session-usage.ts";
import {
  errorNotice,
  type OutboundMessage,
  peerInfo,
  roomClosed,
  roomJoined,
  roomLeft,
} from "./wire/outbound.ts";

export const PEER_SETTINGS = ["maxPeersPerSession", "maxBufferBytes"] as const;

export interface PeersDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly settings: Slice<typeof PEER_SETTINGS>;
  readonly usage: Pick<SessionUsage, "joined">;
}

/** The session, as its peers see it. */
export interface HostingSession {
  readonly id: SessionId;
  readonly ownership: SessionOwnership;
  readonly diary: SessionDiary;
  state(): SessionState;
  /** The host has come for the first time. */
  open(): Promise<"done" | "lost" | "later">;
  hostArrived(host: Peer): void;
  receive(peer: Peer, bytes: Buffer, source: DeliveryMark | undefined): void;
  /** Whether all that has come is relayed, as far as it could be. */
  hasRelayedAll(): boolean;
  guestLeft(guest: PeerId): void;
  hostLeft(cause: LeaveCause): void;
}

/** How long a peer may be without a connection; clients give up after the same time. */
export const AWAY_MS = 30_000;
/** WebSockets whose resumption is remembered. */
const MAX_RESUMED = 10_000;
/** No new guest is admitted beyond this many unwritten changes: bounds the queue during a long store outage. */
const MAX_PENDING_WRITES = 1000;

export class SessionPeers {
  /** Connected peers and those that may still come back. */
  readonly byId: ReadonlyMap<PeerId, Peer>;
  readonly #deps: PeersDeps;
  readonly #session: HostingSession;
  readonly #peers = new Map<PeerId, Peer>();
  readonly #arriving = new Map<PeerId, Promise<Admission>>();
  readonly #awayTimers = new Map<PeerId, Timer>();
  readonly #leftTokens: LeftTokens;
  #isLocked: boolean;
  readonly #reconnects: ReconnectLog;
  readonly #resumes: ResumeLog;
  /** Numbers of the WebSockets that were resumed here. */
  readonly #resumed = new Set<number>();
  readonly #confirmations: Confirmations;

  constructor(deps: PeersDeps, record: SessionRecord, session: HostingSession) {
    this.byId = this.#peers;
    this.#deps = deps;
    this.#session = session;
    this.#leftTokens = createLeftTokens(record.revokedTokens);
    this.#isLocked = record.locked === true;
    this.#reconnects = createReconnectLog({
      clock: deps.clock,
      note: (cause) => session.ownership.note("returned", cause),
    });
    this.#confirmations = createConfirmations({
      clock: deps.clock,
      peers: () => this.#peers.values(),
      hasRelayedAll: () => session.hasRelayedAll(),
    });
    this.#resumes = createResumeLog({
      clock: deps.clock,
      note: (cause) => session.ownership.note("returned", cause),
    });
    // A peer is stored before it is announced, so one that has not sent anything yet may or may not be announced.
    for (const peer of record.peers) {
      this.#peers.set(peer.id, this.#newPeer(peer, peer.settled ? "yes" : "perhaps"));
    }
  }

  get connections(): number {
    let count = 0;
    for (const peer of this.#peers.values()) if (peer.isConnected) count++;
    return count;
  }

  get host(): Peer | undefined {
    for (const peer of this.#peers.values()) if (peer.record.host) return peer;
    return undefined;
  }

  get revokedTokens(): readonly string[] {
    return this.#leftTokens.all;
  }

  /** Whether an operator lets no new guests in. */
  get isLocked(): boolean {
    return this.#isLocked;
  }

  /** `by`: the operator. */
  lock(isLocked: boolean, by: Sender | undefined): void {
    this.#isLocked = isLocked;
    this.#session.diary.locked(isLocked, by);
    void this.#session.ownership.change({ kind: "lock", isLocked });
  }

  // --- arrival ---

  /** See `Session.admit`. */
  admit(token: RoomToken, introduction: Introduction, maxPeople: number): Promise<Admission> {
    const decided = this.#decideAdmission(token, introduction, maxPeople);
    if (decided !== undefined) return Promise.resolve(decided);
    // Two connections with one new token become one peer.
    const arriving = this.#arriving.get(token.peerId);
    if (arriving !== undefined) return arriving;
    const arrival = this.#admitNew(token, introduction).finally(() =>
      this.#arriving.delete(token.peerId),
    );
    this.#arriving.set(token.peerId, arrival);
    return arrival;
  }

  /** Undefined: a new peer that may come in. */
  #decideAdmission(
    token: RoomToken,
    { publicKey }: Introduction,
    maxPeople: number,
  ): Admission | undefined {
    const { ownership } = this.#session;
    const state = this.#session.state();
    if (state === "lost" || ownership.isFenced || ownership.isHandingOver) {
      return { outcome: "lost" };
    }
    if (state === "closed") return refused("closed");
    const peer = this.#peers.get(token.peerId);
    if (peer !== undefined) {
      if (peer.record.tokenId !== token.tokenId) return refused("token");
      // Clients keep one key per token, so another key means a stolen token. The others still encrypt for the first key.
      if (peer.record.publicKey !== publicKey) return refused("other key");
      // Also with an expired token: a peer of an open session may always return.
      return { outcome: "admitted", peer };
    }
    if (this.#leftTokens.has(token.tokenId)) return refused("left");
    if (token.expired) return refused("expired");
    if (token.host) return this.host === undefined ? undefined : refused("token");
    if (state === "created") return refused("unopened");
    if (this.#isLocked) return refused("locked");
    if (ownership.writes.pending >= MAX_PENDING_WRITES) return refused("store away");
    const limit = Math.min(this.#deps.settings.maxPeersPerSession, maxPeople);
    return this.#peers.size + this.#arriving.size >= limit ? refused("full") : undefined;
  }

  async #admitNew(token: RoomToken, introduction: Introduction): Promise<Admission> {
    const record: PeerRecord = {
      id: token.peerId,
      host: token.host,
      user: token.user,
      ...introduction,
      tokenId: token.tokenId,
      settled: false,
    };
    this.#session.diary.arriving(record);
    if ((await this.#put(record)) === "lost" || this.#session.state() === "lost") {
      return { outcome: "lost" };
    }
    if (token.host && (await this.#session.open()) === "lost") return { outcome: "lost" };
    if (!this.#isLive()) return refused("closed");
    const peer = this.#newPeer(record, "no");
    this.#peers.set(peer.id, peer);
    this.#awaitReturn(peer);
    if (peer.record.host) this.#session.hostArrived(peer);
    return { outcome: "admitted", peer };
  }

  /** The peer whose WebSocket a ticket is for, if it can go on here. */
  findResumable(ticket: ResumeTicket): Peer | ResumeRefusal {
    const { ownership } = this.#session;
    const peer = this.#peers.get(ticket.peerId);
    if (peer === undefined || peer.record.tokenId !== ticket.tokenId) return "peer gone";
    if (!this.#isLive() || ownership.isFenced || ownership.isHandingOver) return "moving";
    // The balancer has lost the connection, and with it perhaps what was on its way: its client must compare documents. The
    // session's epoch rises here too, once a session that was created without the store is recorded.
    if (ownership.firstEpoch <= ticket.epoch) return "same epoch";
    // The same, while the former worker handed the session over.
    if (peer.isCut) return "cut";
    if (this.#resumed.has(ticket.stream)) return "used";
    if (peer.isConnected) return "replaced";
    if (this.#resumed.size < MAX_RESUMED) this.#resumed.add(ticket.stream);
    return peer;
  }

  /** See `Session.attach`. */
  attach(peer: Peer, connection: Connection, resumed?: ResumeState): void {
    const { ownership } = this.#session;
    const isUnavailable =
      this.#session.state() === "lost" || ownership.isFenced || ownership.isHandingOver;
    // While its previous connection migrates, what it sent over that one must be read first: it reconnects once more.
    if (isUnavailable || peer.isMigrating) {
      connection.close();
      return;
    }
    // It left, or the session ended, after it was admitted.
    if (this.#peers.get(peer.id) !== peer || !this.#isLive()) {
      connection.end();
      return;
    }
    if (!this.#join(peer, connection)) return;
    this.#stopAwaiting(peer);
    if (resumed === undefined) {
      this.#reconnects.connected(peer.record, peer.announced !== "no");
    } else {
      this.#reconnects.forget(peer.id);
      this.#resumes.add(resumed);
    }
    if (peer.announced !== "yes") this.#announce(peer);
  }

  /** Its client has opened a WebSocket, on which it goes on; also while the session is handed over. */
  upgrade(peer: Peer, previous: Connection, connection: Connection): void {
    if (peer.isConnectedBy(previous)) this.#join(peer, connection);
    else connection.close();
  }

  /** False: it has a newer connection. */
  #join(peer: Peer, connection: Connection): boolean {
    return peer.attach(connection, {
      message: (bytes, source) => this.#session.receive(peer, bytes, source),
      received: (bytes) => this.#confirmations.add(bytes),
      away: () => this.#awaitReturn(peer),
    });
  }

  #announce(peer: Peer): void {
    const isFirst = peer.announced === "no";
    peer.announced = "yes";
    // The host is the first peer: there are no others.
    if (!peer.record.host) this.#sendToOthers(peer, roomJoined(peer.record));
    peer.send(peerInfo(peer.record));
    if (!isFirst) return;
    this.#deps.usage.joined(peer.record, this.#peers.size);
    this.#session.diary.joined(peer.record);
  }

  /** A message proves that the peer knows it is in: a later owner need not announce it again. */
  settle(peer: Peer): void {
    if (peer.record.settled) return;
    peer.record = { ...peer.record, settled: true };
    void this.#put(peer.record);
  }

  // --- absence and departure ---

  /** Gives every peer without a connection its 30 s. */
  awaitReturns(): void {
    for (const peer of this.#peers.values()) if (!peer.isConnected) this.#awaitReturn(peer);
  }

  #awaitReturn(peer: Peer): void {
    if (!this.#isLive()) return;
    this.#reconnects.lost(peer.id);
    this.#awayTimers.get(peer.id)?.cancel();
    this.#awayTimers.set(
      peer.id,
      this.#deps.clock.after(AWAY_MS, () => this.leave(peer, "away")),
    );
  }

  #stopAwaiting(peer: Peer): void {
    this.#awayTimers.get(peer.id)?.cancel();
    this.#awayTimers.delete(peer.id);
  }

  leave(peer: Peer, cause: LeaveCause): void {
    if (!this.#isLive() || this.#peers.get(peer.id) !== peer) return;
    // It may have reconnected to another worker, which then decides.
    if (this.#session.ownership.isFenced) this.#awaitReturn(peer);
    else if (peer.record.host) this.#session.hostLeft(cause);
    else this.#removeGuest(peer, cause);
  }

  /** An operator removes a guest, who may ask to join again; the others are notified. */
  remove(id: PeerId, by: Sender | undefined): "removed" | "host" | "unknown" {
    const peer = this.#peers.get(id);
    if (peer === undefined || !this.#isLive()) return "unknown";
    if (peer.record.host) return "host";
    this.#tellItIsOver(peer);
    this.#removeGuest(peer, "removed", by);
    return "removed";
  }

  /** See `Session.signOut`. */
  signOut(signIn: string, message: string): void {
    for (const peer of [...this.#peers.values()]) {
      if (peer.record.user.signIn !== signIn) continue;
      peer.send(errorNotice(message));
      this.#tellItIsOver(peer);
      this.leave(peer, "signed out");
    }
  }

  /** As when the session ends: its program closes the workspace, and does not try to come back. */
  #tellItIsOver(peer: Peer): void {
    peer.send(roomClosed(this.host?.id ?? ""));
  }

  #removeGuest(peer: Peer, cause: LeaveCause, by?: Sender): void {
    const { ownership, diary } = this.#session;
    diary.left(peer.record, cause, by);
    this.#stopAwaiting(peer);
    this.#reconnects.forget(peer.id);
    this.#peers.delete(peer.id);
    this.#leftTokens.add(peer.record.tokenId);
    if (peer.announced !== "no") this.#sendToOthers(peer, roomLeft(peer.record));
    this.#session.guestLeft(peer.id);
    peer.end();
    void ownership.change(async () => {
      const untilMs = await ownership.tombstoneEndMs();
      return { kind: "remove-peer", peer: peer.id, untilMs };
    });
  }

  // --- all at once ---

  /** Ends every connection for good; all but the host get `last` before. */
  endAll(last: OutboundMessage): void {
    const { host } = this;
    for (const peer of this.#peers.values()) {
      if (peer !== host) peer.send(last);
      peer.end();
    }
  }

  /** Closes every connection so that its client reconnects. */
  disconnectAll(): void {
    for (const peer of this.#peers.values()) peer.disconnect();
  }

  /** See `prepareMove`. */
  async migrateAll(keepOpen: boolean): Promise<MoveOutcome> {
    const isDecided = this.#session.hasRelayedAll();
    const obstacle = keepOpen ? (isDecided ? undefined : "undecided") : "unable successor";
    const session = shortId(this.#session.id);
    const outcome = await prepareMove([...this.#peers.values()], obstacle, {
      ...this.#deps,
      session,
    });
    // What waits for peers that are away goes to the next owner, and would be lost with it: it stays unconfirmed.
    this.#confirmations.begin();
    return outcome;
  }

  /** See `prepareRestart`. */
  async freezeAll(): Promise<void> {
    if (!this.#session.hasRelayedAll()) return;
    await prepareRestart([...this.#peers.values()], this.#deps);
    this.#confirmations.begin();
  }

  /** The session stays: connections that were frozen go on. */
  thawAll(): void {
    for (const peer of this.#peers.values()) peer.thaw();
  }

  pendingMessages(epoch: number): PendingMessages {
    const peers = [...this.#peers.values()];
    const waiting = peers.map(({ id, waiting }) => ({ id, messages: waiting }));
    return {
      epoch,
      waiting: waiting.filter(({ messages }) => messages.length > 0),
      cut: peers.filter(({ isCut }) => isCut).map(({ id }) => id),
    };
  }

  /** Queues what a previous owner could not deliver, before everything else. */
  preload({ waiting, cut }: PendingMessages): void {
    for (const id of cut) {
      const peer = this.#peers.get(id);
      if (peer !== undefined) peer.isCut = true;
    }
    for (const { id, messages } of waiting) this.#peers.get(id)?.preload(messages);
  }

  /** Writes every peer again, after the store has lost them. */
  restoreRecords(): void {
    for (const peer of this.#peers.values()) void this.#put(peer.record);
  }

  stopTimers(): void {
    this.#confirmations.close();
    for (const timer of this.#awayTimers.values()) timer.cancel();
    this.#awayTimers.clear();
  }

  #sendToOthers(about: Peer, outbound: OutboundMessage): void {
    for (const peer of this.#peers.values()) if (peer !== about) peer.send(outbound);
  }

  #put(record: PeerRecord): Promise<"done" | "lost" | "later"> {
    return this.#session.ownership.change({ kind: "put-peer", peer: record });
  }

  #newPeer(record: PeerRecord, announced: Peer["announced"]): Peer {
    const { counters, settings } = this.#deps;
    return new Peer(record, { counters, maxBufferBytes: settings.maxBufferBytes, announced });
  }

  #isLive(): boolean {
    const state = this.#session.state();
    return state === "created" || state === "open";
  }
}

function refused(reason: string): Admission {
  return { outcome: "refused", reason };
}
