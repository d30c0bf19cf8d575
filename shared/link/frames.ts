/**
 * The frames of a link between a balancer and a worker: many byte streams over one TCP connection.
 *
 *     u32 length of the payload · u32 stream × 8 + type · payload
 *
 * Both numbers are big-endian. Streams are numbered by the balancer, which opens all of them, from 1 on and never again;
 * 0 is the link itself.
 */
import { readUint32 } from "../base/uint32.ts";

/** Sent with the request that opens a link; the two sides must have the same. */
export const LINK_VERSION = 1;

export const HEADER_BYTES = 8;
/** A longer payload is sent as several frames, so that the other streams get their turn. */
export const MAX_PAYLOAD_BYTES = 16_384;
/** Bytes that a side may send on a stream before the other one has consumed any of them. */
export const WINDOW_BYTES = 65_536;
/** 29 bits. */
export const MAX_STREAM_ID = 0x1fff_ffff;

export const FRAME = {
  /** Bytes of the stream. */
  data: 0,
  /** The balancer opens the stream; no payload. */
  open: 1,
  /** The sender has sent its last byte; no payload. */
  fin: 2,
  /** The stream is over in both directions. One byte of payload: a `RESET`. */
  reset: 3,
  /** u32: bytes of the stream that have been consumed since the last time, and may be sent again. */
  credit: 4,
  /** On stream 0. One byte of payload: a `CONTROL`. */
  control: 5,
} as const;

export const RESET = {
  /** The sender closed it in order: what it sent before is valid, and followed by its end. */
  closed: 0,
  /** Aborted: what was sent may be incomplete. */
  aborted: 1,
  /** Not accepted: nothing of the stream was handled. */
  refused: 2,
} as const;

export const CONTROL = {
  /** Sent once a second by both sides; it tells a silent peer from one that is gone. */
  heartbeat: 0,
} as const;

/** What a frame reader finds, in order. Bytes are valid until the call returns. */
export interface FrameReceiver {
  /** Some bytes of a data frame: a frame may come in several parts. */
  onData(stream: number, bytes: Buffer): void;
  onOpen(stream: number): void;
  onFin(stream: number): void;
  onReset(stream: number, reason: number): void;
  onCredit(stream: number, bytes: number): void;
  onControl(kind: number): void;
}

/** The peer breaks the rules of framing: nothing that follows on this connection can be understood. */
export class LinkFramingError extends Error {
  override readonly name = "LinkFramingError";
}

/** The second number of a header. */
export function headerWord(stream: number, type: number): number {
  return stream * 8 + type;
}

/** Length of the payload of each type, by its number; data has any length. */
const PAYLOAD_BYTES: readonly (number | undefined)[] = [undefined, 0, 0, 1, 4, 1];

/** Reads frames from the bytes of a connection, however they are cut. */
export class FrameReader {
  readonly #receiver: FrameReceiver;
  /** Of a header, or of the payload of a frame other than data, that has come in part. */
  readonly #partial = Buffer.allocUnsafe(HEADER_BYTES);
  #partialBytes = 0;
  /** Of the frame that is being read; `#type` is undefined between frames. */
  #type: number | undefined;
  #stream = 0;
  #left = 0;
  /** Frames that have begun. */
  frames = 0;

  constructor(receiver: FrameReceiver) {
    this.#receiver = receiver;
  }

  /** Throws `LinkFramingError`; after that it must not be used any more. */
  push(bytes: Buffer): void {
    let at = 0;
    while (at < bytes.length) {
      if (this.#type === undefined) at = this.#readHeader(bytes, at);
      else if (this.#type === FRAME.data) at = this.#readData(bytes, at);
      else at = this.#readPayload(bytes, at);
    }
  }

  #readHeader(bytes: Buffer, at: number): number {
    if (this.#partialBytes === 0 && bytes.length - at >= HEADER_BYTES) {
      this.#begin(bytes, at);
      return at + HEADER_BYTES;
    }
    const next = this.#collect(bytes, at, HEADER_BYTES);
    if (this.#partialBytes === HEADER_BYTES) {
      this.#partialBytes = 0;
      this.#begin(this.#partial, 0);
    }
    return next;
  }

  #begin(bytes: Buffer, at: number): void {
    const length = readUint32(bytes, at);
    const word = readUint32(bytes, at + 4);
    const type = word & 7;
    const stream = word >>> 3;
    const expected = PAYLOAD_BYTES[type];
    if (type === FRAME.data) {
      if (length === 0 || length > MAX_PAYLOAD_BYTES) throw framingError("data", length);
    } else if (expected === undefined) {
      throw new LinkFramingError(`a frame of the unknown type ${type}`);
    } else if (length !== expected) {
      throw framingError(`type ${type}`, length);
    }
    if ((stream === 0) !== (type === FRAME.control)) {
      throw new LinkFramingError(`a frame of type ${type} on stream ${stream}`);
    }
    this.frames++;
    this.#stream = stream;
    this.#left = length;
    this.#type = type;
    if (length === 0) this.#finish(this.#partial);
  }

  #readData(bytes: Buffer, at: number): number {
    const end = Math.min(bytes.length, at + this.#left);
    this.#left -= end - at;
    if (this.#left === 0) this.#type = undefined;
    this.#receiver.onData(this.#stream, bytes.subarray(at, end));
    return end;
  }

  #readPayload(bytes: Buffer, at: number): number {
    const next = this.#collect(bytes, at, this.#left);
    if (this.#partialBytes === this.#left) {
      this.#partialBytes = 0;
      this.#finish(this.#partial);
    }
    return next;
  }

  /** Collects until there are `length` bytes. */
  #collect(bytes: Buffer, at: number, length: number): number {
    const end = Math.min(bytes.length, at + length - this.#partialBytes);
    bytes.copy(this.#partial, this.#partialBytes, at, end);
    this.#partialBytes += end - at;
    return end;
  }

  #finish(payload: Buffer): void {
    const type = this.#type;
    this.#type = undefined;
    const stream = this.#stream;
    switch (type) {
      case FRAME.open:
        this.#receiver.onOpen(stream);
        return;
      case FRAME.fin:
        this.#receiver.onFin(stream);
        return;
      case FRAME.reset:
        this.#receiver.onReset(stream, payload[0] ?? 0);
        return;
      case FRAME.credit:
        this.#receiver.onCredit(stream, readUint32(payload, 0));
        return;
      case FRAME.control:
        this.#receiver.onControl(payload[0] ?? 0);
        return;
      case undefined:
        return;
    }
  }
}

function framingError(what: string, length: number): LinkFramingError {
  return new LinkFramingError(`a frame (${what}) of ${length} bytes`);
}
