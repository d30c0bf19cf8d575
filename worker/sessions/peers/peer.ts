/**
 * One participant of a session: its connection, and the messages that wait while it is away or reads too slowly.
 */
import type { PeerId } from "../../../shared/base/ids.ts";
import type { Counters } from "../../../shared/metrics/metrics.ts";
import type { DeliveryMark } from "../../../shared/resume/frames.ts";
import type { PeerRecord } from "../../../shared/store/store.ts";
import { compact, type OutboundMessage } from "../wire/outbound.ts";

/** A peer's connection, as the peer uses it. */
export interface Connection {
  /** Rises from connection to connection of this process: the higher is the newer. */
  readonly ordinal: number;
  /** Bytes given to it that the system has not taken yet. */
  readonly pendingBytes: number;
  /** Bytes given to it that would be lost with this process: more than `pendingBytes` if they wait below it. */
  readonly unsentBytes: number;
  /** Whether its client was asked to reconnect, or its WebSocket is about to go on elsewhere: it sends nothing more. */
  readonly isMigrating: boolean;
  /** Whether its WebSocket can go on at another worker without its client noticing. */
  readonly isMovable: boolean;
  /**
   * Whether another worker has begun it: then the balancer knows what its client has got, and drops what comes again. Any other
   * connection gets nothing that may have been delivered before.
   */
  readonly isResumed: boolean;
  /** Calls `events` from now on. At most once. */
  open(events: ConnectionEvents): void;
  send(outbound: OutboundMessage): void;
  /**
   * Asks the client to reconnect. What it sends until it does still arrives; what is given to this connection from now on
   * is not sent. Ends with `closed`, unless the client does not react: then `close` it.
   */
  migrate(): void;
  /** Ends it so that the client reconnects. What was not sent yet is given to `closed`. */
  close(): void;
  /**
   * Handles no further input: what comes is kept by the balancer. Resolves with why that cannot be done; `thaw` undoes it.
   */
  stopInput(): Promise<MoveObstacle | undefined>;
  /**
   * After `stopInput`: resolves when everything that it was given has left, with undefined; from then on `close` makes the
   * session's owner go on with the WebSocket. Or with why that takes too long.
   */
  freeze(): Promise<MoveObstacle | undefined>;
  /** Goes on here after all. */
  thaw(): void;
  /** Everything that has come over it is relayed, and has left. */
  markRelayed(): void;
  /** A balancer need not keep any more what was marked. So does `close` if the WebSocket goes on elsewhere. */
  confirm(): void;
  /** Ends it for good, after everything was sent: the client does not reconnect. */
  end(): void;
}

/** Why a client has to reconnect instead. */
export type MoveObstacle =
  | "polling"
  /** Its WebSocket has a connection of its own, or its balancer cannot resume it. */
  | "no link"
  /** The next owner cannot go on with WebSockets: CT_LINK=off there, or another version. */
  | "unable successor"
  /** This worker cannot tell whether it still owns the session. */
  | "undecided"
  /** It has sent a part of a long message. */
  | "half a message"
  /** It does not read what it was sent. */
  | "slow"
  /** Its connection ends already. */
  | "gone";

export interface ConnectionEvents {
  /** `source`: where it came from, if its WebSocket can be resumed. */
  message(bytes: Buffer, source?: DeliveryMark): void;
  /** So many bytes have come that are not confirmed. */
  received(bytes: number): void;
  /** There is room again. */
  drained(): void;
  /**
   * It has ended; the system never got `unsent`. `isCut`: what carried it broke, and with it perhaps what had left before. Not
   * called after `end`.
   */
  closed(unsent: readonly OutboundMessage[], isCut?: boolean): void;
}

/** Bytes given to a connection before the rest waits here, where it outlives the connection. */
const CONNECTION_BYTES = 1024 * 1024;
/** Cost of a waiting message beyond its bytes. */
const MESSAGE_OVERHEAD_BYTES = 256;
/** Limit of the worker's own messages (joined, left) to one absent peer. */
const MAX_OWN_WAITING = 10_000;

export class Peer {
  record: PeerRecord;
  /**
   * Whether `room/joined` was broadcast and `peer/info` sent. `perhaps`: that was up to another worker, or to an earlier
   * incarnation of this one.
   */
  announced: "no" | "perhaps" | "yes";
  readonly #maxWaitingBytes: number;
  readonly #counters: Counters;
  #connection: Connection | undefined;
  /**
   * Whether its last connection was cut off: what was on its way is lost, so no other worker may go on with the WebSocket, and its
   * client has to compare documents.
   */
  isCut = false;
  #waiting: OutboundMessage[] = [];
  #waitingBytes = 0;
  #waitingOwn = 0;

  constructor(
    record: PeerRecord,
    deps: { maxBufferBytes: number; counters: Counters; announced: Peer["announced"] },
  ) {
    this.record = record;
    this.announced = deps.announced;
    this.#maxWaitingBytes = deps.maxBufferBytes;
    this.#counters = deps.counters;
  }

  get id(): PeerId {
    return this.record.id;
  }

  get isConnected(): boolean {
    return this.#connection !== undefined;
  }

  isConnectedBy(connection: Connection): boolean {
    return this.#connection === connection;
  }

  get connection(): Connection | undefined {
    return this.#connection;
  }

  /** Bytes that it was sent and that have not left for it. */
  get unsentBytes(): number {
    return (this.#connection?.unsentBytes ?? 0) + this.#waitingBytes;
  }

  /** Whether its client was asked to reconnect, and input from this connection may still be unread. */
  get isMigrating(): boolean {
    return this.#connection?.isMigrating === true;
  }

  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** Oldest first. */
  get waiting(): readonly OutboundMessage[] {
    return this.#waiting;
  }

  /**
   * Replaces its connection and sends what waited, in order. `false`: it already has a newer one (a stale connection was
   * slow to get here), and this one is closed.
   */
  attach(
    connection: Connection,
    events: Pick<ConnectionEvents, "message" | "received"> & { away: () => void },
  ): boolean {
    const previous = this.#connection;
    if (previous !== undefined && previous.ordinal > connection.ordinal) {
      connection.close();
      return false;
    }
    this.#connection = connection;
    this.isCut = false;
    if (!connection.isResumed) this.#dropRepeats();
    connection.open({
      message: events.message,
      received: events.received,
      drained: () => this.#sendWaiting(),
      closed: (unsent, isCut = false) => {
        this.#putBack(unsent);
        if (this.#connection !== connection) return;
        this.#connection = undefined;
        this.isCut = isCut;
        events.away();
      },
    });
    // Only after the replacement, so that its end is not taken for an absence; what it did not send goes first now.
    previous?.close();
    this.#sendWaiting();
    return true;
  }

  /** Sends now, or when the peer is back or has read what came before. */
  send(outbound: OutboundMessage): void {
    const connection = this.#connection;
    if (connection?.isResumed === false && outbound.source?.isReplayed === true) {
      this.#counters.count("worker.messages_dropped", "perhaps delivered");
      return;
    }
    if (
      connection !== undefined &&
      !connection.isMigrating &&
      this.#waiting.length === 0 &&
      connection.pendingBytes < CONNECTION_BYTES
    ) {
      connection.send(outbound);
      return;
    }
    this.#wait(outbound);
  }

  /** Closes its connection so that the client reconnects. */
  disconnect(): void {
    this.#connection?.close();
  }

  /** Asks the client to reconnect and queues what is sent to it from now on; what it still sends arrives. */
  migrate(): void {
    this.#connection?.migrate();
  }

  /** What has come over its connection is relayed, and the next `confirm` is for that. */
  markRelayed(): void {
    this.#connection?.markRelayed();
  }

  confirm(): void {
    this.#connection?.confirm();
  }

  /** Goes on with a connection that was about to be moved. */
  thaw(): void {
    this.#connection?.thaw();
    this.#sendWaiting();
  }

  /** Queues `messages`, which waited on another worker, before everything that waits here. */
  preload(messages: readonly OutboundMessage[]): void {
    this.#putBack(messages);
    this.#sendWaiting();
  }

  /** Sends everything that waits and ends the connection for good. */
  end(): void {
    const connection = this.#connection;
    this.#connection = undefined;
    for (const outbound of this.#waiting) connection?.send(outbound);
    this.#resetWaiting([]);
    connection?.end();
  }

  // --- waiting messages ---

  #wait(message: OutboundMessage): void {
    const outbound = compact(message);
    if (outbound.own && this.#waitingOwn >= MAX_OWN_WAITING) {
      this.#counters.count("worker.messages_dropped", "buffer");
      return;
    }
    this.#add(outbound);
    // A single message may exceed the limit: it was accepted, so it must get through.
    if (this.#waitingBytes > this.#maxWaitingBytes && this.#waiting.length > 1) this.#overflow();
  }

  /**
   * Drops everything from other peers at once: a document that lacks some updates is completed by the next exchange of
   * state vectors, and what comes from now on is newer than what was dropped. A connected peer that reads too slowly is
   * also disconnected: it is back within a second and then asks for what it lacks.
   */
  #overflow(): void {
    const kept = this.#waiting.filter((outbound) => outbound.own);
    const droppedCount = this.#waiting.length - kept.length;
    this.#counters.count("worker.buffer_overflows", this.isConnected ? "slow" : "away");
    this.#counters.count("worker.messages_dropped", "buffer", droppedCount);
    this.#resetWaiting(kept);
    this.#connection?.close();
  }

  #sendWaiting(): void {
    const connection = this.#connection;
    if (connection === undefined || connection.isMigrating || this.#waiting.length === 0) return;
    let sent = 0;
    for (const outbound of this.#waiting) {
      if (connection.pendingBytes >= CONNECTION_BYTES) break;
      connection.send(outbound);
      sent++;
    }
    this.#resetWaiting(this.#waiting.slice(sent));
  }

  /** Messages that a closed connection did not send go before everything that came later. */
  #putBack(unsent: readonly OutboundMessage[]): void {
    if (unsent.length > 0) this.#resetWaiting([...unsent, ...this.#waiting]);
  }

  #dropRepeats(): void {
    const kept = this.#waiting.filter(({ source }) => source?.isReplayed !== true);
    const dropped = this.#waiting.length - kept.length;
    if (dropped === 0) return;
    this.#counters.count("worker.messages_dropped", "perhaps delivered", dropped);
    this.#resetWaiting(kept);
  }

  #resetWaiting(kept: readonly OutboundMessage[]): void {
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#waitingOwn = 0;
    for (const outbound of kept) this.#add(outbound);
  }

  #add(outbound: OutboundMessage): void {
    this.#waiting.push(outbound);
    this.#waitingBytes += outbound.byteLength + MESSAGE_OVERHEAD_BYTES;
    if (outbound.own) this.#waitingOwn++;
  }
}
