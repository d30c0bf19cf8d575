/**
 * What is written to a client's WebSocket: messages in order, as much at once as the socket takes, and the rest kept here, where
 * it outlives the connection.
 */
import type { Duplex } from "node:stream";
import { MAX_PAYLOAD_BYTES } from "../../../shared/link/frames.ts";
import { LinkSocket } from "../../links/link-socket.ts";
import { compact, type OutboundMessage } from "../wire/outbound.ts";
import type { MessageFrames } from "./message-frames.ts";

/** Given to the socket at a time, and lost with it if it closes. */
const WRITE_BYTES = 65_536;

export class StreamOutput {
  readonly #stream: Duplex;
  readonly #link: LinkSocket | undefined;
  readonly #frames: MessageFrames;
  readonly #onWritten: () => void;
  #waiting: OutboundMessage[] = [];
  #waitingBytes = 0;
  /** Given to the socket, which has not passed all of it on. */
  #inFlightBytes = 0;

  /** `onWritten`: everything given to the socket has left, and there may be room for more. */
  constructor(stream: Duplex, frames: MessageFrames, onWritten: () => void) {
    this.#stream = stream;
    this.#link = stream instanceof LinkSocket ? stream : undefined;
    this.#frames = frames;
    this.#onWritten = onWritten;
  }

  get pendingBytes(): number {
    return this.#waitingBytes + this.#inFlightBytes;
  }

  /** Bytes that would be lost with this process: as `pendingBytes`, and those that wait below the socket. */
  get unsentBytes(): number {
    return this.pendingBytes + (this.#link?.unsentBytes ?? this.#stream.writableLength);
  }

  /** Whether the socket has not taken what it was given. */
  get isStuck(): boolean {
    return this.#inFlightBytes > 0;
  }

  write(batch: readonly OutboundMessage[]): void {
    const isIdle = this.#inFlightBytes === 0 && this.#waiting.length === 0;
    const done = isIdle && this.#link !== undefined ? this.#writeDirectly(this.#link, batch) : 0;
    if (done === batch.length) return;
    for (let i = done; i < batch.length; i++) {
      const message = batch[i];
      if (message === undefined) continue;
      this.#waiting.push(message);
      this.#waitingBytes += message.byteLength;
    }
    this.#writeMore();
    this.#compact(batch.length - done);
  }

  /** Sends a frame behind what the socket has; it stands between two messages. */
  writeFrame(frame: Buffer): void {
    const at = this.#link?.reserve(frame.length) ?? -1;
    if (at >= 0) frame.copy(this.#link?.out ?? frame, at);
    else this.#stream.write(frame);
  }

  /** What the socket was not given: it gets nothing more. */
  takeWaiting(): readonly OutboundMessage[] {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    return waiting;
  }

  /**
   * Writes messages straight into the link to the client's balancer, as many as fit into frames of the link. Returns how many.
   */
  #writeDirectly(link: LinkSocket, batch: readonly OutboundMessage[]): number {
    let done = 0;
    while (done < batch.length) {
      const { end, bytes } = this.#fittingFrom(batch, done);
      let at = bytes === 0 ? -1 : link.reserve(bytes);
      if (at < 0) break;
      for (; done < end; done++) {
        const message = batch[done];
        if (message !== undefined) at = this.#frames.writeTo(link.out, at, message);
      }
    }
    return done;
  }

  /** Which messages fit into one frame of a link, from `first` on. */
  #fittingFrom(batch: readonly OutboundMessage[], first: number) {
    let bytes = 0;
    let end = first;
    for (; end < batch.length; end++) {
      const message = batch[end];
      const more = message === undefined ? 0 : this.#frames.bytesOf(message);
      if (bytes + more > MAX_PAYLOAD_BYTES) break;
      bytes += more;
    }
    return { end, bytes };
  }

  /** Whole messages only: none is given to the socket in part. */
  #writeMore(): void {
    if (this.#inFlightBytes > 0 || this.#waiting.length === 0) return;
    let bytes = 0;
    let count = 0;
    for (const { byteLength } of this.#waiting) {
      if (count > 0 && bytes + byteLength > WRITE_BYTES) break;
      bytes += byteLength;
      count++;
    }
    const batch = this.#waiting.splice(0, count);
    this.#waitingBytes -= bytes;
    this.#inFlightBytes = bytes;
    const buffers = this.#frames.encode(batch);
    this.#stream.cork();
    for (const [index, buffer] of buffers.entries()) {
      if (index < buffers.length - 1) this.#stream.write(buffer);
      else this.#stream.write(buffer, this.#onSent);
    }
    this.#stream.uncork();
  }

  readonly #onSent = (error?: Error | null): void => {
    this.#inFlightBytes = 0;
    // `close` follows.
    if (error !== undefined && error !== null) return;
    this.#writeMore();
    this.#onWritten();
  };

  /** The newest `count` messages wait for a client that reads slowly, unless they have left already. */
  #compact(count: number): void {
    const waiting = this.#waiting;
    for (let i = Math.max(0, waiting.length - count); i < waiting.length; i++) {
      const message = waiting[i];
      if (message !== undefined) waiting[i] = compact(message);
    }
  }
}
