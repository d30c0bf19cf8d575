/**
 * One peer's connection: socket.io's event `message` with one binary argument, over engine.io's current transport
 * (polling or WebSocket).
 */
import type { Socket } from "socket.io";
import { MAX_PAYLOAD_BYTES } from "../../../shared/link/frames.ts";
import type { Connection, ConnectionEvents } from "../peers/peer.ts";
import { compact, joined, type OutboundMessage, SHARED_BYTES } from "../wire/outbound.ts";
import {
  closeConnection,
  idleLinkOf,
  preEncoded,
  streamOf,
  UPGRADE_POLL_MS,
  webSocketOf,
} from "./engine-internals.ts";
import type { FanOut, Output } from "./fan-out.ts";

/**
 * An engine.io packet type that does not exist. The clients of VS Code and the browser close the connection the moment
 * they read it: behind everything that they have sent, and what is sent from then on is kept for the next connection. With
 * a close frame or the end of our half they would accept messages, and drop them, until the connection has ended
 * (docs/adr/0010-closing-a-client.md).
 */
const UNKNOWN_PACKET = "9";
/** Time for that packet to be read and the connection to end. */
const CLOSE_GRACE_MS = 1000;
/** The event as socket.io writes it: its argument follows in a message of its own. */
const EVENT = '["message",{"_placeholder":true,"num":0}]';
const NO_MESSAGE: OutboundMessage = { parts: [], byteLength: 0, own: true };
/** Received in place of what is not a message of the protocol: dropped and counted like any other malformed one. */
const NOTHING: Buffer = Buffer.alloc(0);

export class SocketConnection implements Connection, Output {
  /** See `Connection`. */
  readonly ordinal: number;
  readonly #socket: Socket;
  readonly #conn: Socket["conn"];
  readonly #fanOut: FanOut;
  /** The event's header, which precedes each message. */
  readonly #eventPacket: string;
  readonly #eventFrame: Buffer;
  #events: ConnectionEvents | undefined;
  /** `migrating`: the migrate packet follows what is queued. */
  #state: "open" | "migrating" | "migrate-sent" | "ended" = "open";
  #isUpgradePolled = false;
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
    const namespace = socket.nsp.name === "/" ? "" : `${socket.nsp.name},`;
    this.#eventPacket = `51-${namespace}${EVENT}`;
    // "4": engine.io's packet type "message", which text frames carry and binary ones do not.
    this.#eventFrame = textFrame(`4${this.#eventPacket}`);
    // engine.io gives its transport everything at once, and only after the previous batch is written.
    this.#conn.on("flush", () => {
      this.#inFlightBytes = this.#unsentBytes;
      this.#unsentBytes = 0;
      this.#unsent = [];
    });
    socket.on("disconnect", () => {
      this.#finish();
      // After a disconnect of socket.io alone the transport would stay open.
      this.#conn.close();
    });
  }

  get pendingBytes(): number {
    return this.#batchBytes + this.#unsentBytes + this.#inFlightBytes;
  }

  get isMigrating(): boolean {
    return this.#state === "migrating" || this.#state === "migrate-sent";
  }

  open(events: ConnectionEvents): void {
    this.#events = events;
    // Not `on`: that drops a message when a disconnect arrived in the same chunk.
    this.#socket.onAny((event: unknown, argument: unknown) => {
      events.message(event === "message" && Buffer.isBuffer(argument) ? argument : NOTHING);
    });
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
    const isStuck = this.#inFlightBytes > 0;
    this.#finish();
    closeConnection(this.#conn);
    // A client that does not read would not see the close either.
    if (isStuck) webSocketOf(this.#conn)?.terminate();
  }

  end(): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    this.#socket.offAny();
    this.#fanOut.write([this]);
    this.#socket.disconnect(true);
  }

  #finish(): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    this.#socket.offAny();
    this.#events?.closed([...this.#unsent, ...this.#batch]);
    this.#unsent = [];
    this.#batch = [];
  }

  // --- writing ---

  writeBatch(): void {
    const batch = this.#batch;
    if (batch.length === 0) return;
    this.#batch = [];
    this.#batchBytes = 0;
    if (this.#conn.transport.name !== "websocket") {
      this.#writePackets(batch);
      return;
    }
    const done = this.#writeDirectly(batch);
    if (done < batch.length) this.#writeFrames(done === 0 ? batch : batch.slice(done));
    // Nothing else follows what has left at once.
    else this.#sendMigrate();
  }

  /**
   * Writes messages straight into the link to the client's balancer, as many as fit into frames of the link while nothing
   * else is under way. Returns how many.
   */
  #writeDirectly(batch: readonly OutboundMessage[]): number {
    const link = idleLinkOf(this.#conn);
    if (link === undefined) return 0;
    let done = 0;
    while (done < batch.length) {
      const { end, bytes } = this.#fittingFrom(batch, done);
      const at = bytes === 0 ? -1 : link.reserve(bytes);
      if (at < 0) break;
      this.#writeInto(link.out, at, batch.slice(done, end));
      done = end;
    }
    return done;
  }

  /** Which messages fit into one frame of a link, from `first` on. */
  #fittingFrom(batch: readonly OutboundMessage[], first: number) {
    let bytes = 0;
    let end = first;
    for (; end < batch.length; end++) {
      const { byteLength } = batch[end] ?? NO_MESSAGE;
      const more = this.#eventFrame.length + headerBytes(byteLength) + byteLength;
      if (bytes + more > MAX_PAYLOAD_BYTES) break;
      bytes += more;
    }
    return { end, bytes };
  }

  #writeInto(to: Buffer, start: number, messages: readonly OutboundMessage[]): void {
    let at = start;
    for (const { parts, byteLength } of messages) {
      at += this.#eventFrame.copy(to, at);
      at = writeHeader(to, at, 0x82, byteLength);
      for (const part of parts) at += part.copy(to, at);
    }
  }

  #writeFrames(batch: readonly OutboundMessage[]): void {
    for (const chunk of chunksOf(batch)) {
      for (const outbound of chunk) this.#countUnsent(outbound);
      this.#conn.write(NOTHING, preEncoded(encodeFrames(this.#eventFrame, chunk)), this.#onSent);
      this.#compactUnsent(chunk.length);
    }
  }

  #writePackets(batch: readonly OutboundMessage[]): void {
    for (const outbound of batch) {
      this.#conn.write(this.#eventPacket);
      // Not before: engine.io may have sent the event's header alone, which is worth nothing without its argument.
      this.#countUnsent(outbound);
      this.#conn.write(joined(outbound), { compress: false }, this.#onSent);
      this.#compactUnsent(1);
    }
  }

  /** Call it right before the message is given to engine.io, which may pass it on at once. */
  #countUnsent(outbound: OutboundMessage): void {
    this.#unsent.push(outbound);
    this.#unsentBytes += outbound.byteLength;
  }

  /** The newest `count` messages wait for a client that reads slowly, unless they have left already. */
  #compactUnsent(count: number): void {
    const unsent = this.#unsent;
    for (let i = Math.max(0, unsent.length - count); i < unsent.length; i++) {
      const outbound = unsent[i];
      if (outbound !== undefined) unsent[i] = compact(outbound);
    }
  }

  readonly #onSent = (): void => {
    this.#inFlightBytes = 0;
    if (this.isMigrating) this.#sendMigrate();
    else if (this.#state === "open") this.#events?.drained();
  };

  // --- migrating ---

  /** Sends the migrate packet once all output is on its way: the client reads nothing after it. */
  #sendMigrate(): void {
    if (this.#state !== "migrating") return;
    if (this.#batch.length > 0 || this.#unsentBytes > 0 || this.#inFlightBytes > 0) return;
    if (this.#conn.upgrading) {
      this.#retryAfterUpgrade();
      return;
    }
    this.#state = "migrate-sent";
    const webSocket = webSocketOf(this.#conn);
    if (webSocket === undefined) {
      this.#closePolling();
      return;
    }
    webSocket.send(UNKNOWN_PACKET);
    // A client that ignores the packet closes at the end of our half; what it sends in that moment may be lost.
    setTimeout(() => {
      if (this.#state !== "ended") streamOf(webSocket)?.end();
    }, CLOSE_GRACE_MS).unref();
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

// --- WebSocket frames ---

/** A large last part of a message is given to the WebSocket as it is, not copied. */
function sharedPart({ parts }: OutboundMessage): Buffer | undefined {
  const last = parts.at(-1);
  return last !== undefined && last.length >= SHARED_BYTES ? last : undefined;
}

/** Splits a batch into chunks of one write each: a part that is shared ends its chunk. */
function chunksOf(batch: readonly OutboundMessage[]): OutboundMessage[][] {
  const chunks: OutboundMessage[][] = [];
  let chunk: OutboundMessage[] = [];
  for (const outbound of batch) {
    chunk.push(outbound);
    if (sharedPart(outbound) === undefined) continue;
    chunks.push(chunk);
    chunk = [];
  }
  if (chunk.length > 0) chunks.push(chunk);
  return chunks;
}

/** A chunk's events as frames: engine.io would write the two messages of each event one by one. */
function encodeFrames(eventFrame: Buffer, chunk: readonly OutboundMessage[]): Buffer[] {
  const all: Buffer[] = [];
  for (const { parts, byteLength } of chunk) {
    const header = Buffer.allocUnsafe(headerBytes(byteLength));
    writeHeader(header, 0, 0x82, byteLength);
    all.push(eventFrame, header, ...parts);
  }
  const last = chunk.at(-1);
  const shared = last && sharedPart(last);
  if (shared === undefined) return [Buffer.concat(all)];
  all.pop();
  return [Buffer.concat(all), shared];
}

function textFrame(text: string): Buffer {
  const payload = Buffer.from(text, "utf8");
  const header = Buffer.allocUnsafe(headerBytes(payload.length));
  writeHeader(header, 0, 0x81, payload.length);
  return Buffer.concat([header, payload]);
}

/** Length of the header of an unfragmented, unmasked frame (RFC 6455 §5.2) with a payload of `length` bytes. */
function headerBytes(length: number): number {
  if (length < 126) return 2;
  return length < 65_536 ? 4 : 10;
}

/** Writes that header; returns where the payload goes. */
function writeHeader(to: Buffer, at: number, finAndOpcode: number, length: number): number {
  to[at] = finAndOpcode;
  if (length < 126) {
    to[at + 1] = length;
    return at + 2;
  }
  if (length < 65_536) {
    to[at + 1] = 126;
    to[at + 2] = length >> 8;
    to[at + 3] = length & 0xff;
    return at + 4;
  }
  to[at + 1] = 127;
  to.writeUIntBE(0, at + 2, 2);
  to.writeUIntBE(length, at + 4, 6);
  return at + 10;
}
