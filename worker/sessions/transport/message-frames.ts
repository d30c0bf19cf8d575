/**
 * Messages for a client as WebSocket frames of socket.io's event `message`: a text frame, and a binary one with the message. To
 * a balancer that can resume the WebSocket, each is preceded by what it came of (shared/resume/frames.ts).
 */
import { getOrAdd } from "../../../shared/base/grouping.ts";
import { DELIVERY_BYTES, writeDelivery } from "../../../shared/resume/frames.ts";
import { type OutboundMessage, SHARED_BYTES } from "../wire/outbound.ts";

/** The event as socket.io writes it: its argument follows in a message of its own. */
const EVENT = '["message",{"_placeholder":true,"num":0}]';
const BINARY = 0x82;
const TEXT = 0x81;

export class MessageFrames {
  /** engine.io's packet of the event, without its type. */
  readonly eventPacket: string;
  readonly #eventFrame: Buffer;
  readonly #isMarked: boolean;

  /** `isMarked`: for a balancer that can resume the WebSocket. */
  constructor(namespace: string, isMarked: boolean) {
    this.eventPacket = eventPacketOf(namespace);
    // "4": engine.io's packet type "message", which text frames carry and binary ones do not.
    this.#eventFrame = textFrame(`4${this.eventPacket}`);
    this.#isMarked = isMarked;
  }

  /** Length of a message's frames. */
  bytesOf({ byteLength }: OutboundMessage): number {
    const mark = this.#isMarked ? DELIVERY_BYTES : 0;
    return mark + this.#eventFrame.length + headerBytes(byteLength) + byteLength;
  }

  /** Writes its frames; returns where the next ones go. */
  writeTo(to: Buffer, start: number, message: OutboundMessage): number {
    let at = this.#writeHead(to, start, message);
    for (const part of message.parts) at += part.copy(to, at);
    return at;
  }

  /** Everything in front of the message's bytes. */
  #writeHead(to: Buffer, start: number, { byteLength, source }: OutboundMessage): number {
    let at = start;
    const event = this.#eventFrame;
    if (this.#isMarked) {
      at = writeDelivery(to, at, source, event.length + headerBytes(byteLength) + byteLength);
    }
    at += event.copy(to, at);
    return writeHeader(to, at, BINARY, byteLength);
  }

  /** The frames of a batch, as few buffers as possible; a large message is not copied. */
  encode(batch: readonly OutboundMessage[]): Buffer[] {
    const buffers: Buffer[] = [];
    let small: OutboundMessage[] = [];
    for (const message of batch) {
      const shared = sharedPart(message);
      if (shared === undefined) {
        small.push(message);
        continue;
      }
      const head = this.#joined(small, this.bytesOf(message) - shared.length);
      let at = this.#writeHead(head.buffer, head.end, message);
      for (const part of message.parts.slice(0, -1)) at += part.copy(head.buffer, at);
      buffers.push(head.buffer, shared);
      small = [];
    }
    if (small.length > 0) buffers.push(this.#joined(small, 0).buffer);
    return buffers;
  }

  /** The frames of `messages`, and room for more. */
  #joined(messages: readonly OutboundMessage[], more: number) {
    let bytes = more;
    for (const message of messages) bytes += this.bytesOf(message);
    const buffer = Buffer.allocUnsafe(bytes);
    let end = 0;
    for (const message of messages) end = this.writeTo(buffer, end, message);
    return { buffer, end };
  }
}

/** Of most connections: they are the same, and each would keep some of a buffer. */
const shared = new Map<boolean, MessageFrames>();

export function messageFrames(namespace: string, isMarked: boolean): MessageFrames {
  if (namespace !== "/") return new MessageFrames(namespace, isMarked);
  return getOrAdd(shared, isMarked, () => new MessageFrames(namespace, isMarked));
}

/** socket.io's packet of a message for a client of this namespace; the message itself follows. */
export function eventPacketOf(namespace: string): string {
  return `51-${namespacePart(namespace)}${EVENT}`;
}

/** A namespace as socket.io's packets name it. */
export function namespacePart(namespace: string): string {
  return namespace === "/" ? "" : `${namespace},`;
}

/** A large last part of a message is given to the socket as it is, not copied. */
function sharedPart({ parts }: OutboundMessage): Buffer | undefined {
  const last = parts.at(-1);
  return last !== undefined && last.length >= SHARED_BYTES ? last : undefined;
}

export function textFrame(text: string): Buffer {
  const payload = Buffer.from(text, "utf8");
  const frame = Buffer.allocUnsafe(headerBytes(payload.length) + payload.length);
  payload.copy(frame, writeHeader(frame, 0, TEXT, payload.length));
  return frame;
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
