/**
 * One participant of a session: its connection while it has one, and what waits for it while it is away or reads too
 * slowly.
 */
import type { PeerId } from "../../shared/base/ids.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import type { PeerRecord } from "../../shared/store/store.ts";
import type { OutboundMessage } from "./wire/outbound.ts";

/** A peer's connection, as the peer uses it. */
export interface Connection {
  /** Rises from connection to connection of this process: tells the newer of two. */
  readonly ordinal: number;
  /** Bytes that were given to it and not yet to the system. */
  readonly pendingBytes: number;
  /** Whether its client was asked to come back by another one: it sends nothing more. */
  readonly isLeaving: boolean;
  /** From now on calls these. At most once. */
  open(events: ConnectionEvents): void;
  send(outbound: OutboundMessage): void;
  /**
   * Asks the client to come back by a new connection. What it sends until it does so still arrives; what is given to the
   * connection from now on is not sent. Ends with `closed`, unless the client does not answer: then `close` it.
   */
  leave(): void;
  /** Ends it in a way that makes the client come back by itself. What was not sent yet is given to `closed`. */
  close(): void;
  /** Ends it for good, after everything was sent: the client does not come back. */
  end(): void;
}

export interface ConnectionEvents {
  message(bytes: Buffer): void;
  /** There is room again. */
  drained(): void;
  /** It has ended; `unsent` was never given to the system. Not called after `end`. */
  closed(unsent: readonly OutboundMessage[]): void;
}

/** Bytes given to a connection before the rest waits here, where it outlives the connection. */
const CONNECTION_BYTES = 1024 * 1024;
/** What a waiting message costs beyond its bytes. */
const MESSAGE_OVERHEAD_BYTES = 256;
/** Limit of the worker's own messages to one absent peer: people who come and go. */
const MAX_OWN_WAITING = 10_000;

export class Peer {
  record: PeerRecord;
  /**
   * Whether the others, and it itself, were told of it: `perhaps` when that was for another worker to do, or for an earlier
   * life of this one.
   */
  announced: "no" | "perhaps" | "yes";
  readonly #maxWaitingBytes: number;
  readonly #counters: Counters;
  #connection: Connection | undefined;
  #waiting: OutboundMessage[] = [];
  #waitingBytes = 0;
  #waitingOwn = 0;

  constructor(
    record: PeerRecord,
    needs: { maxBufferBytes: number; counters: Counters; announced: Peer["announced"] },
  ) {
    this.record = record;
    this.announced = needs.announced;
    this.#maxWaitingBytes = needs.maxBufferBytes;
    this.#counters = needs.counters;
  }

  get id(): PeerId {
    return this.record.id;
  }

  get isConnected(): boolean {
    return this.#connection !== undefined;
  }

  /** Whether it was asked to come back by another connection, and what it said by this one may not be read yet. */
  get isLeaving(): boolean {
    return this.#connection?.isLeaving === true;
  }

  /** What is kept for it, in bytes. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /**
   * Takes a new connection in place of the one it has, and sends what waited, in order. `false`: it already has a newer
   * one (a stale connection was slow to get here), and this one is closed.
   */
  attach(
    connection: Connection,
    events: { message: (bytes: Buffer) => void; away: () => void },
  ): boolean {
    const previous = this.#connection;
    if (previous !== undefined && previous.ordinal > connection.ordinal) {
      connection.close();
      return false;
    }
    this.#connection = connection;
    connection.open({
      message: events.message,
      drained: () => this.#sendWaiting(),
      closed: (unsent) => {
        this.#putBack(unsent);
        if (this.#connection !== connection) return;
        this.#connection = undefined;
        events.away();
      },
    });
    // Only now, so that its end finds it replaced; what it did not send goes first over the new one.
    previous?.close();
    this.#sendWaiting();
    return true;
  }

  /** Sends now, or when the peer is back or has read what came before. */
  send(outbound: OutboundMessage): void {
    const connection = this.#connection;
    if (
      connection !== undefined &&
      !connection.isLeaving &&
      this.#waiting.length === 0 &&
      connection.pendingBytes < CONNECTION_BYTES
    ) {
      connection.send(outbound);
      return;
    }
    this.#wait(outbound);
  }

  /** Closes its connection so that the client comes back. */
  disconnect(): void {
    this.#connection?.close();
  }

  /** Asks the client to come back, and keeps what is sent to it from now on; what it still says arrives. */
  leave(): void {
    this.#connection?.leave();
  }

  /** What waits for it, oldest first. */
  get waiting(): readonly OutboundMessage[] {
    return this.#waiting;
  }

  /** Puts what waited for it elsewhere before everything that waits here. */
  preload(parcels: readonly OutboundMessage[]): void {
    this.#putBack(parcels);
    this.#sendWaiting();
  }

  /** Sends all that waits and ends the connection for good. */
  end(): void {
    const connection = this.#connection;
    this.#connection = undefined;
    for (const outbound of this.#waiting) connection?.send(outbound);
    this.#clear([]);
    connection?.end();
  }

  // --- waiting ---

  #wait(outbound: OutboundMessage): void {
    if (outbound.own && this.#waitingOwn >= MAX_OWN_WAITING) {
      this.#counters.count("worker.messages_dropped", "buffer");
      return;
    }
    this.#add(outbound);
    // A single message may be larger than the limit: it was accepted, so it must get through.
    if (this.#waitingBytes > this.#maxWaitingBytes && this.#waiting.length > 1) this.#overflow();
  }

  /**
   * Too much waits. All that other peers said is dropped at once: a document that lacks some updates is completed by the
   * next exchange of state vectors, and what comes from now on is newer than what was dropped. A peer that is there but
   * reads too slowly is also disconnected: it comes back in a second and then asks for what it lacks.
   */
  #overflow(): void {
    const kept = this.#waiting.filter((outbound) => outbound.own);
    const droppedCount = this.#waiting.length - kept.length;
    this.#counters.count("worker.buffer_overflows", this.isConnected ? "slow" : "away");
    this.#counters.count("worker.messages_dropped", "buffer", droppedCount);
    this.#clear(kept);
    this.#connection?.close();
  }

  #sendWaiting(): void {
    const connection = this.#connection;
    if (connection === undefined || connection.isLeaving || this.#waiting.length === 0) return;
    let sent = 0;
    for (const outbound of this.#waiting) {
      if (connection.pendingBytes >= CONNECTION_BYTES) break;
      connection.send(outbound);
      sent++;
    }
    this.#clear(this.#waiting.slice(sent));
  }

  /** What a connection that has ended did not send goes before everything that came later. */
  #putBack(unsent: readonly OutboundMessage[]): void {
    if (unsent.length > 0) this.#clear([...unsent, ...this.#waiting]);
  }

  #clear(kept: readonly OutboundMessage[]): void {
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
