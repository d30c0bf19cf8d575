/**
 * What a client has sent over its WebSocket and its worker has not confirmed: it is sent once more when the WebSocket is
 * resumed on another worker. Frames are followed by their headers only (RFC 6455 §5.2), to know where messages end.
 */
import { isReached, MAX_KEPT_BYTES } from "../../shared/resume/frames.ts";

/** Unconfirmed messages beyond which a worker is taken for one that confirms none. */
const MAX_MESSAGES = 65_536;
const MAX_HEADER_BYTES = 14;

export class ClientLog {
  /** Oldest first. */
  #chunks: Buffer[] = [];
  /** Position of the first chunk in all that the client has sent. */
  #start = 0;
  /** Of all that the client has sent. */
  #end = 0;
  /** Positions at which the unconfirmed messages end. */
  #ends: number[] = [];
  /** Where the last confirmed message ends. */
  #confirmedEnd = 0;
  #confirmed: number;
  /** Of the frame that is being read: its header so far, and then what is left of it. */
  readonly #header = Buffer.allocUnsafe(MAX_HEADER_BYTES);
  #headerBytes = 0;
  #payloadLeft = 0;
  #isMessageEnd = false;
  #hasGivenUp = false;

  /** `confirmed`: messages that came before. */
  constructor(confirmed = 0) {
    this.#confirmed = confirmed;
  }

  /** Messages that the worker has confirmed; wraps at 32 bits. */
  get confirmed(): number {
    return this.#confirmed;
  }

  /** Whole messages that it has not confirmed. */
  get messages(): number {
    return this.#ends.length;
  }

  get bytes(): number {
    return this.#end - this.#start;
  }

  /** Whether everything behind the last confirmed message is here. */
  get isComplete(): boolean {
    return !this.#hasGivenUp && this.#start <= this.#confirmedEnd;
  }

  /** What the client sends next; the bytes are copied. `keepAll`: nobody else has them, so they are kept beyond the limit. */
  push(bytes: Buffer, keepAll = false): void {
    if (this.#hasGivenUp || bytes.length === 0) return;
    this.#follow(bytes);
    this.#end += bytes.length;
    if (!keepAll && this.#end - this.#start > MAX_KEPT_BYTES) {
      this.#chunks = [];
      this.#start = this.#end;
    } else {
      this.#chunks.push(Buffer.from(bytes));
    }
    if (this.#ends.length > MAX_MESSAGES) this.#giveUp();
  }

  /** The worker has relayed so many of the client's messages; more than were sent is ignored. */
  confirm(messages: number): void {
    const count = (messages - this.#confirmed) | 0;
    const end = this.#ends[count - 1];
    if (end === undefined || !isReached(messages, this.#confirmed)) return;
    this.#ends.splice(0, count);
    this.#confirmed = messages >>> 0;
    this.#confirmedEnd = end;
    this.#dropUntil(end);
  }

  #giveUp(): void {
    this.#hasGivenUp = true;
    this.#chunks = [];
    this.#start = this.#end;
    this.#ends = [];
  }

  #dropUntil(position: number): void {
    let dropped = 0;
    for (const chunk of this.#chunks) {
      if (this.#start + chunk.length > position) break;
      this.#start += chunk.length;
      dropped++;
    }
    if (dropped > 0) this.#chunks.splice(0, dropped);
    const [first] = this.#chunks;
    if (first === undefined || this.#start >= position) return;
    // A copy: the rest of a message must not keep the ones before it.
    this.#chunks[0] = Buffer.from(first.subarray(position - this.#start));
    this.#start = position;
  }

  /** Everything behind the last confirmed message. */
  unconfirmed(): readonly Buffer[] {
    return this.#chunks;
  }

  #follow(bytes: Buffer): void {
    let at = 0;
    while (at < bytes.length || this.#isFrameOver()) {
      if (this.#payloadLeft > 0) {
        const taken = Math.min(this.#payloadLeft, bytes.length - at);
        this.#payloadLeft -= taken;
        at += taken;
      } else if (this.#isFrameOver()) {
        if (this.#isMessageEnd) this.#ends.push(this.#end + at);
        this.#headerBytes = 0;
      } else {
        at = this.#readHeader(bytes, at);
      }
    }
  }

  /** Whether a frame was read to its end, which is not noted yet. */
  #isFrameOver(): boolean {
    return this.#payloadLeft === 0 && this.#headerBytes > 0 && this.#isHeaderWhole();
  }

  #isHeaderWhole(): boolean {
    return this.#headerBytes >= 2 && this.#headerBytes === headerLength(this.#header);
  }

  #readHeader(bytes: Buffer, start: number): number {
    let at = start;
    while (at < bytes.length && !this.#isHeaderWhole()) {
      this.#header[this.#headerBytes++] = bytes[at++] ?? 0;
    }
    if (this.#isHeaderWhole()) {
      this.#payloadLeft = payloadLength(this.#header);
      const first = this.#header[0] ?? 0;
      // The last frame of a message; those of control (ping, pong, close) stand between messages.
      this.#isMessageEnd = (first & 0x80) !== 0 && (first & 0x0f) < 8;
    }
    return at;
  }
}

function headerLength(header: Buffer): number {
  const second = header[1] ?? 0;
  const short = second & 0x7f;
  return 2 + (short === 126 ? 2 : short === 127 ? 8 : 0) + ((second & 0x80) !== 0 ? 4 : 0);
}

function payloadLength(header: Buffer): number {
  const short = (header[1] ?? 0) & 0x7f;
  if (short === 126) return header.readUInt16BE(2);
  return short === 127 ? Number(header.readBigUInt64BE(2)) : short;
}
