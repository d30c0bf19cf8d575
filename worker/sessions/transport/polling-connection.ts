/**
 * A peer's connection while its client polls, or has just opened a WebSocket that is not taken over yet (stream-connection.ts):
 * socket.io's event `message` with one binary argument, by way of engine.io.
 */
import type { Socket } from "socket.io";
import type { Connection, ConnectionEvents, MoveObstacle } from "../peers/peer.ts";
import { compact, joined, type OutboundMessage } from "../wire/outbound.ts";
import { closeConnection, readPackets, UPGRADE_POLL_MS } from "./engine-internals.ts";
import type { FanOut, Output } from "./fan-out.ts";
import { eventPacketOf } from "./message-frames.ts";
import { PacketReader } from "./packet-reader.ts";

export class PollingConnection implements Connection, Output {
  /** See `Connection`. */
  readonly ordinal: number;
  readonly isMovable = false;
  readonly isResumed = false;
  /** Of what its client sends; it goes on with the next connection. */
  readonly reader: PacketReader;
  readonly #socket: Socket;
  readonly #conn: Socket["conn"];
  readonly #fanOut: FanOut;
  /** The event's header, which precedes each message. */
  readonly #eventPacket: string;
  #events: ConnectionEvents | undefined;
  /** `migrating`: the connection closes once what is queued is sent. */
  #state: "open" | "migrating" | "migrate-sent" | "ended" = "open";
  #isUpgradePolled = false;
  /** Whether another connection of its peer goes on with its WebSocket, and closes this one. */
  isReplaced = false;
  /** Given in this turn of the event loop; written at its end, at once. */
  #batch: OutboundMessage[] = [];
  #batchBytes = 0;
  /** Given to engine.io, not yet to its transport. */
  #unsent: OutboundMessage[] = [];
  #unsentBytes = 0;
  /** Given to the transport, not yet to the system. */
  #inFlightBytes = 0;

  /** Create it in the turn in which socket.io reports the socket, or messages are lost. */
  constructor(socket: Socket, ordinal: number, fanOut: FanOut) {
    this.ordinal = ordinal;
    this.#socket = socket;
    this.#conn = socket.conn;
    this.#fanOut = fanOut;
    this.#eventPacket = eventPacketOf(socket.nsp.name);
    this.reader = new PacketReader(socket.nsp.name);
    // engine.io gives its transport everything at once, and only after the previous batch is written.
    this.#conn.on("flush", () => {
      this.#inFlightBytes = this.#unsentBytes;
      this.#unsentBytes = 0;
      this.#unsent = [];
    });
    socket.on("disconnect", () => {
      if (this.isReplaced) return;
      this.#finish();
      // After a disconnect of socket.io alone the transport would stay open.
      this.#conn.close();
    });
  }

  get pendingBytes(): number {
    return this.#batchBytes + this.#unsentBytes + this.#inFlightBytes;
  }

  get unsentBytes(): number {
    return this.pendingBytes;
  }

  get isMigrating(): boolean {
    return !this.isReplaced && (this.#state === "migrating" || this.#state === "migrate-sent");
  }

  open(events: ConnectionEvents): void {
    this.#events = events;
    this.reader.handler = {
      message: (bytes) => events.message(bytes),
      disconnected: () => this.#socket.disconnect(true),
      connecting: (namespace) => {
        this.#conn.write(`4${namespace}{"message":"one namespace per connection"}`);
      },
      malformed: () => this.close(),
    };
    readPackets(this.#conn, this.reader);
  }

  send(outbound: OutboundMessage): void {
    if (this.#state === "ended") return;
    if (this.#batch.length === 0) this.#fanOut.add(this);
    this.#batch.push(outbound);
    this.#batchBytes += outbound.byteLength;
  }

  migrate(): void {
    if (this.#state !== "open") return;
    this.#state = "migrating";
    this.#fanOut.write([this]);
    this.#sendMigrate();
  }

  close(): void {
    if (this.#state === "ended") return;
    this.#finish();
    closeConnection(this.#conn);
  }

  end(): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    this.#fanOut.write([this]);
    this.#socket.disconnect(true);
  }

  stopInput(): Promise<MoveObstacle> {
    return Promise.resolve("polling");
  }

  freeze(): Promise<MoveObstacle> {
    return Promise.resolve("polling");
  }

  thaw(): void {}

  markRelayed(): void {}
  confirm(): void {}

  #finish(): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    this.#events?.closed([...this.#unsent, ...this.#batch]);
    this.#unsent = [];
    this.#batch = [];
  }

  // --- writing ---

  writeBatch(): void {
    const batch = this.#batch;
    this.#batch = [];
    this.#batchBytes = 0;
    for (const outbound of batch) {
      this.#conn.write(this.#eventPacket);
      // Not before: engine.io may have sent the event's header alone, which is worth nothing without its argument. And right
      // before the message, which engine.io may pass on at once.
      this.#unsent.push(outbound);
      this.#unsentBytes += outbound.byteLength;
      this.#conn.write(joined(outbound), { compress: false }, this.#onSent);
      this.#compactLast();
    }
  }

  /** A message that waits for a client that reads slowly, unless it has left already. */
  #compactLast(): void {
    const last = this.#unsent.pop();
    if (last !== undefined) this.#unsent.push(compact(last));
  }

  readonly #onSent = (): void => {
    this.#inFlightBytes = 0;
    if (this.isMigrating) this.#sendMigrate();
    else if (this.#state === "open") this.#events?.drained();
  };

  // --- migrating ---

  /** Closes the connection once all output is on its way: the client reads nothing after it. */
  #sendMigrate(): void {
    if (this.#state !== "migrating" || this.pendingBytes > 0) return;
    if (this.#conn.upgrading) {
      this.#retryAfterUpgrade();
      return;
    }
    this.#state = "migrate-sent";
    this.#closePolling();
  }

  /** Input of a client that upgrades comes over the new WebSocket, which is not in use yet, and would be lost with it. */
  #retryAfterUpgrade(): void {
    if (this.#isUpgradePolled) return;
    this.#isUpgradePolled = true;
    setTimeout(() => {
      this.#isUpgradePolled = false;
      this.#sendMigrate();
    }, UPGRADE_POLL_MS).unref();
  }

  /** While engine.io closes a polling connection it accepts what is posted and drops it: that is read here. */
  #closePolling(): void {
    const conn = this.#conn;
    conn.transport.on("packet", ({ type, data }: { type: string; data?: unknown }) => {
      if (type === "message" && conn.readyState === "closing") conn.emit("data", data);
    });
    conn.close();
  }
}
