/**
 * What a worker sends over a WebSocket that can be resumed: takes the frames for the balancer out (shared/resume/frames.ts), and
 * passes on what is for the client in whole messages, because another worker may send the next one. What a client already has
 * is dropped when it is delivered again.
 */
import { readUint32 } from "../../shared/base/uint32.ts";
import {
  DELIVERY_BYTES,
  isReached,
  MAX_KEPT_BYTES,
  MAX_TICKET_BYTES,
  RESUME_FRAME,
  type Resumable,
  readTicket,
} from "../../shared/resume/frames.ts";
import { hasHeader, headerLength, payloadLength } from "./frame-header.ts";

/** Called while bytes are read. */
export interface OutputEvents {
  confirmed(messages: number): void;
  ticketCame(resumable: Resumable): void;
  moved(): void;
  /** A message was dropped, because the client had it. */
  repeated(): void;
}

/** Streams whose last message is remembered per client; the oldest is forgotten beyond it. */
const MAX_STREAMS = 4096;
/** Parts up to this size are moved together in the buffer that they are in; longer ones are sent as they are. */
const MAX_MOVED_BYTES = 4096;
const CLOSE = 0x88;

export class WorkerOutput {
  readonly #events: OutputEvents;
  /** The last message of each stream that the client has got whole. */
  #delivered: Map<number, number> | undefined;
  /** Of a frame whose header has come in part. */
  #partial: Buffer | undefined;
  /** What is left of the present message or frame. */
  #left = 0;
  /** What is done with it. */
  #use: "forward" | "hold" | "drop" | "read" = "forward";
  /** Of a message that is held back until it is whole, or the payload of a frame for the balancer. */
  #held: Buffer[] = [];
  #opcode = 0;
  /** To be remembered when the present message is whole. */
  #stream = 0;
  #message = 0;
  /** Whether another worker is to go on: nothing more of this one counts. */
  #hasMoved = false;
  /** Whether the worker has closed the WebSocket itself. */
  isClosed = false;

  constructor(events: OutputEvents) {
    this.#events = events;
  }

  /** Whether the client has got a part of a message, so that no other worker can go on. */
  get isInMessage(): boolean {
    return this.#left > 0 && this.#use === "forward";
  }

  /** Another worker goes on: what has come of a message in part is dropped. */
  restart(): void {
    this.#hasMoved = false;
    this.#partial = undefined;
    this.#held = [];
    this.#left = 0;
    this.#use = "forward";
    this.#stream = 0;
  }

  /** The parts of `bytes` that are for the client, in order. Parts may be moved within `bytes`. */
  read(bytes: Buffer): readonly Buffer[] {
    const input = this.#partial === undefined ? bytes : Buffer.concat([this.#partial, bytes]);
    this.#partial = undefined;
    const parts: Buffer[] = [];
    let at = 0;
    while (at < input.length && !this.#hasMoved) {
      if (this.#left === 0) {
        const next = this.#begin(input, at);
        if (next < 0) {
          this.#partial = Buffer.from(input.subarray(at));
          break;
        }
        at = next;
        if (this.#left > 0) continue;
        this.#finish(parts);
      } else {
        at = this.#take(input, at, parts);
      }
    }
    return parts.length > 1 ? joined(input, parts) : parts;
  }

  /** Reads a header; returns where its payload begins, or -1 when it is not whole yet. */
  #begin(input: Buffer, at: number): number {
    const opcode = input[at] ?? 0;
    if (opcode === RESUME_FRAME.delivery || opcode === RESUME_FRAME.repeat) {
      if (input.length - at < DELIVERY_BYTES) return -1;
      this.#beginMessage(input, at, opcode === RESUME_FRAME.repeat);
      return at + DELIVERY_BYTES;
    }
    if (!hasHeader(input, at)) return -1;
    const length = headerLength(input, at);
    const bytes = payloadLength(input, at);
    this.#opcode = opcode;
    if (opcode > RESUME_FRAME.repeat && opcode <= RESUME_FRAME.move) {
      this.#use = bytes <= MAX_TICKET_BYTES ? "read" : "drop";
      this.#left = bytes;
      return at + length;
    }
    if (opcode === CLOSE) this.isClosed = true;
    // With its header.
    this.#left = length + bytes;
    this.#use = this.#left <= MAX_KEPT_BYTES ? "hold" : "forward";
    return at;
  }

  #beginMessage(input: Buffer, at: number, isRepeat: boolean): void {
    this.#stream = readUint32(input, at + 2);
    this.#message = readUint32(input, at + 6);
    this.#left = readUint32(input, at + 10);
    this.#opcode = RESUME_FRAME.delivery;
    const last = isRepeat ? this.#delivered?.get(this.#stream) : undefined;
    if (last !== undefined && isReached(last, this.#message)) {
      this.#use = "drop";
      this.#events.repeated();
    } else {
      this.#use = this.#left <= MAX_KEPT_BYTES ? "hold" : "forward";
    }
  }

  #take(input: Buffer, at: number, parts: Buffer[]): number {
    const end = Math.min(input.length, at + this.#left);
    this.#left -= end - at;
    if (this.#use === "forward") {
      parts.push(input.subarray(at, end));
    } else if (this.#use !== "drop") {
      const part = input.subarray(at, end);
      if (this.#left === 0 && this.#held.length === 0 && this.#use === "hold") parts.push(part);
      else this.#held.push(this.#left === 0 ? part : Buffer.from(part));
    }
    if (this.#left === 0) this.#finish(parts);
    return end;
  }

  /** The present message or frame is whole. */
  #finish(parts: Buffer[]): void {
    const held = this.#held;
    if (held.length > 0) this.#held = [];
    const use = this.#use;
    this.#use = "forward";
    if (use === "read") {
      this.#tell(Buffer.concat(held));
      return;
    }
    if (held.length > 0) parts.push(...held);
    if (this.#stream !== 0 && use !== "drop") this.#remember();
    this.#stream = 0;
  }

  #remember(): void {
    this.#delivered ??= new Map();
    this.#delivered.set(this.#stream, this.#message);
    if (this.#delivered.size <= MAX_STREAMS) return;
    for (const oldest of this.#delivered.keys()) {
      this.#delivered.delete(oldest);
      return;
    }
  }

  #tellTicket(resumable: Resumable | undefined): void {
    if (resumable !== undefined) this.#events.ticketCame(resumable);
  }

  #tell(payload: Buffer): void {
    switch (this.#opcode) {
      case RESUME_FRAME.confirm:
        if (payload.length === 4) this.#events.confirmed(readUint32(payload, 0));
        return;
      case RESUME_FRAME.ticket:
        this.#tellTicket(readTicket(payload));
        return;
      case RESUME_FRAME.move:
        this.#hasMoved = true;
        this.#events.moved();
        return;
    }
  }
}

/** Moves short neighbours together, so that they leave in one write without a copy of their own. */
function joined(input: Buffer, parts: readonly Buffer[]): readonly Buffer[] {
  const result: Buffer[] = [];
  let start = -1;
  let end = -1;
  for (const part of parts) {
    const at = part.buffer === input.buffer ? part.byteOffset - input.byteOffset : -1;
    const isInside = at >= 0 && at + part.length <= input.length;
    if (start >= 0 && isInside && part.length <= MAX_MOVED_BYTES) {
      input.copyWithin(end, at, at + part.length);
      end += part.length;
      result[result.length - 1] = input.subarray(start, end);
      continue;
    }
    result.push(part);
    start = isInside ? at : -1;
    end = isInside ? at + part.length : -1;
  }
  return result;
}
