/**
 * WebSocket frames of a client that sends what is ready-made and reads as little as possible: a load of a benchmark, not a
 * client for anything else. Masked with zeros, which costs the server what any other mask does.
 */
import { Encoding, Encryption, type Message } from "open-collaboration-protocol";
import { MARK, MARK_BEGIN, MARK_BYTES, writeMark } from "./parts.ts";

/** Length of an edit's encrypted content. */
const CONTENT_BYTES = 96;
/** socket.io's event with one binary argument, which follows in a frame of its own. */
const EVENT_PACKET = '451-["message",{"_placeholder":true,"num":0}]';

export interface ReadyFrame {
  /** The event's two frames. */
  readonly bytes: Buffer;
  /** Where the mark is. */
  readonly markAt: number;
}

/** A message as unmodified clients encrypt it: with the content's key, wrapped for each of `targets`. */
export async function readyFrame(
  message: Message & { content: unknown },
  options: {
    readonly targets: readonly string[];
    readonly publicKey: string;
    /** One key for all messages of a person; what has been wrapped is kept in the cache. */
    readonly symmetricKey: Encryption.EncryptionKey;
  },
): Promise<ReadyFrame> {
  const { targets, publicKey, symmetricKey } = options;
  const keys = targets.map((peerId) => ({
    peerId,
    publicKey,
    supportedCompression: ["gzip" as const],
  }));
  const encrypted = await Encryption.encrypt(message, symmetricKey, ...keys);
  const content = Buffer.alloc(CONTENT_BYTES, "e");
  writeMark(content, content.length - MARK_BYTES, 0, 0);
  const bytes = eventFrames(Encoding.encode({ ...encrypted, content }));
  return { bytes, markAt: bytes.lastIndexOf(content) + CONTENT_BYTES - MARK_BYTES };
}

/** The two frames of an event with the message `bytes`. */
export function eventFrames(bytes: Uint8Array): Buffer {
  return Buffer.concat([textFrame(EVENT_PACKET), frame(0x82, bytes)]);
}

export function textFrame(text: string): Buffer {
  return frame(0x81, Buffer.from(text));
}

function frame(finAndOpcode: number, payload: Uint8Array): Buffer {
  const header = Buffer.alloc(payload.length < 126 ? 6 : 8);
  header[0] = finAndOpcode;
  if (payload.length < 126) {
    header[1] = 0x80 | payload.length;
  } else {
    if (payload.length > 0xffff) throw new Error(`a frame of ${payload.length} bytes`);
    header[1] = 0x80 | 126;
    header.writeUInt16BE(payload.length, 2);
  }
  return Buffer.concat([header, payload]);
}

export interface FrameHandler {
  /** Valid until the call returns. */
  onText(text: Buffer): void;
  onBinary(bytes: Buffer): void;
}

/** Reads unmasked frames from a connection's bytes, however they are cut. */
export class ServerFrames {
  readonly #handler: FrameHandler;
  #rest: Buffer | undefined;

  constructor(handler: FrameHandler) {
    this.#handler = handler;
  }

  push(bytes: Buffer): void {
    const all = this.#rest === undefined ? bytes : Buffer.concat([this.#rest, bytes]);
    const end = this.#read(all);
    // A copy, because the buffer of the read is used again.
    this.#rest = end === all.length ? undefined : Buffer.from(all.subarray(end));
  }

  /** Returns where the first incomplete frame begins. */
  #read(bytes: Buffer): number {
    let at = 0;
    while (bytes.length - at >= 2) {
      const opcode = (bytes[at] ?? 0) & 0x0f;
      let length = (bytes[at + 1] ?? 0) & 0x7f;
      let begin = at + 2;
      if (length === 126) {
        if (bytes.length - at < 4) return at;
        length = ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0);
        begin = at + 4;
      } else if (length === 127) {
        if (bytes.length - at < 10) return at;
        length = bytes.readUInt32BE(at + 6);
        begin = at + 10;
      }
      const end = begin + length;
      if (end > bytes.length) return at;
      if (opcode === 2) this.#handler.onBinary(bytes.subarray(begin, end));
      else if (opcode === 1) this.#handler.onText(bytes.subarray(begin, end));
      at = end;
    }
    return at;
  }
}

/** Where the mark is in a received message; -1 when it has none. Usually the content is a message's last entry. */
export function markIn(bytes: Buffer): number {
  const last = bytes.length - MARK_BYTES;
  if (last >= 0 && readMark(bytes, last) === MARK) return last;
  for (
    let at = bytes.indexOf(MARK_BEGIN);
    at >= 0 && at <= last;
    at = bytes.indexOf(MARK_BEGIN, at + 1)
  ) {
    if (readMark(bytes, at) === MARK) return at;
  }
  return -1;
}

function readMark(bytes: Buffer, at: number): number {
  return ((bytes[at] ?? 0) << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0);
}
