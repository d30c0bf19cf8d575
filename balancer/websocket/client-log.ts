/**
 * What a client has sent over its WebSocket and its worker has not confirmed: it is sent once more when the WebSocket is
 * resumed on another worker. Frames are followed by their headers only (RFC 6455 §5.2), to know where messages end.
 */
import { isReached, MAX_KEPT_BYTES } from "../../shared/resume/frames.ts";
import { hasHeader, headerLength, MAX_HEADER_BYTES, payloadLength } from "./frame-header.ts";

/** Unconfirmed messages beyond which a worker is taken for one that confirms none. */
const MAX_MESSAGES = 65_536;

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
  /** Of a header that has come in part. */
  #header: Buffer | undefined;
  /** Whether a header was read, and how much of its frame is left. */
  #isInFrame = false;
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
    while (at < bytes.length) {
      if (this.#isInFrame) {
        const taken = Math.min(this.#payloadLeft, bytes.length - at);
        this.#payloadLeft -= taken;
        at += taken;
      } else {
        at = this.#readHeader(bytes, at);
      }
      if (!this.#isInFrame || this.#payloadLeft > 0) continue;
      this.#isInFrame = false;
      if (this.#isMessageEnd) this.#ends.push(this.#end + at);
    }
  }

  /** Returns where the payload begins, or the end of `bytes` when the header is not whole yet. */
  #readHeader(bytes: Buffer, at: number): number {
    const before = this.#header;
    if (before === undefined && hasHeader(bytes, at)) {
      this.#begin(bytes, at);
      return at + headerLength(bytes, at);
    }
    const header = Buffer.concat([before ?? NOTHING, bytes.subarray(at, at + MAX_HEADER_BYTES)]);
    if (!hasHeader(header, 0)) {
      this.#header = header;
      return bytes.length;
    }
    this.#header = undefined;
    this.#begin(header, 0);
    return at + headerLength(header, 0) - (before?.length ?? 0);
  }

  #begin(bytes: Buffer, at: number): void {
    const first = bytes[at] ?? 0;
    this.#isInFrame = true;
    this.#payloadLeft = payloadLength(bytes, at);
    // The last frame of a message; those of control (ping, pong, close) stand between messages.
    this.#isMessageEnd = (first & 0x80) !== 0 && (first & 0x0f) < 8;
  }
}

const NOTHING = Buffer.alloc(0);
