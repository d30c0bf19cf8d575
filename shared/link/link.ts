/**
 * One TCP connection between a balancer and a worker that carries many streams. All frames of one turn of the event loop
 * leave in one write; what one read brings for a stream is delivered at once.
 */
import { atTurnEnd } from "../base/turn.ts";
import { writeUint32 } from "../base/uint32.ts";
import {
  CONTROL,
  FRAME,
  FrameReader,
  type FrameReceiver,
  HEADER_BYTES,
  headerWord,
  LinkFramingError,
  MAX_PAYLOAD_BYTES,
  MAX_STREAM_ID,
  RESET,
} from "./frames.ts";
import type { LinkCounts } from "./link-counts.ts";
import {
  type Chunk,
  LinkLostError,
  LinkStream,
  StreamClosedError,
  type StreamLink,
} from "./stream.ts";

/** The TCP connection of a link. */
export interface Wire {
  readonly remoteAddress: string;
  /** Sends a chunk, which is not changed any more. */
  write(chunk: Chunk): void;
  /** Bytes not handed to the kernel yet. `Link.onDrain` follows when there are none. */
  readonly pendingBytes: number;
  /** Sends what was written, then its end. `destroy` follows. */
  end(): void;
  destroy(): void;
}

interface LinkOptions {
  readonly counts: LinkCounts;
  /** Takes a stream that the peer has opened, and sets its handler before it returns. Without it the peer may open none. */
  readonly onStream?: (stream: LinkStream) => void;
  /** Whether another stream is taken; default: yes. */
  readonly mayOpen?: () => boolean;
  /** Called once, when the link is over, before its streams are. */
  readonly onClosed: (why: Error | undefined) => void;
  /** Called when the last open stream is over. */
  readonly onIdle?: () => void;
  readonly reportBug: (error: unknown) => void;
}

/**
 * Up to this many bytes leave as latin1 text, which Node writes without a buffer of its own: their place in the output buffer
 * is free at once. It is also the longest text for which Node does so.
 */
const MAX_TEXT_BYTES = 16_384;
const BUFFER_BYTES = 65_536;
const MAX_FRAME_BYTES = HEADER_BYTES + MAX_PAYLOAD_BYTES;
/** Unsent bytes beyond which the streams keep theirs, and get turns when the wire has room again. */
const MAX_UNSENT_BYTES = 262_144;
/** Streams of one link at a time; a peer that opens more gets resets. */
export const MAX_STREAMS = 20_000;
/**
 * Beats of our own clock in a row without a byte of the peer after which it is taken for gone: before its lease of 5 s
 * expires. Counted in our own beats, because a process that was stopped itself has heard nothing either.
 */
const MAX_SILENT_BEATS = 4;
/** Time for the peer to take what was sent before an orderly end. */
const END_MS = 1000;
/** Time between two beats; both sides must have the same. */
export const BEAT_MS = 1000;

export class Link implements FrameReceiver, StreamLink {
  readonly counts: LinkCounts;
  readonly #wire: Wire;
  readonly #options: LinkOptions;
  readonly #reader = new FrameReader(this);
  readonly #streams = new Map<number, LinkStream>();
  /** The newest stream's id. */
  #lastId = 0;
  /** Streams with bytes for a wire that had no room. */
  #waiting = new Set<LinkStream>();
  /** Streams for which the read that is being handled has brought bytes. */
  #read: LinkStream[] = [];
  #silentBeats = 0;
  #isClosed = false;

  // --- output ---
  #out = Buffer.allocUnsafeSlow(BUFFER_BYTES);
  /** Where the unsent frames begin and end. */
  #start = 0;
  #end = 0;
  #isFlushDue = false;
  #isBlocked = false;

  constructor(wire: Wire, options: LinkOptions) {
    this.#wire = wire;
    this.#options = options;
    this.counts = options.counts;
  }

  get remoteAddress(): string {
    return this.#wire.remoteAddress;
  }

  /** Open streams. */
  get size(): number {
    return this.#streams.size;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Whether it can open another stream. */
  get hasRoom(): boolean {
    return !this.#isClosed && this.#streams.size < MAX_STREAMS && this.#lastId < MAX_STREAM_ID;
  }

  /** Opens a stream; its handler is to be set at once. Only while `hasRoom`. */
  open(): LinkStream {
    const stream = this.#add(this.#lastId + 1);
    this.#send(stream.id, FRAME.open);
    return stream;
  }

  #add(id: number): LinkStream {
    this.#lastId = id;
    const stream = new LinkStream(id, this);
    this.#streams.set(id, stream);
    this.counts.streamsOpened++;
    return stream;
  }

  /** A second has passed. */
  beat(): void {
    if (this.#isClosed) return;
    this.#silentBeats++;
    if (this.#silentBeats > MAX_SILENT_BEATS) {
      // Not a broken link: what waits for this peer must not be sent to it again.
      const silence = new StreamClosedError("the link's peer is silent");
      this.#finish(silence, silence);
      return;
    }
    const at = this.#begin(0, FRAME.control, 1);
    this.#out[at] = CONTROL.heartbeat;
  }

  /** Ends it and all of its streams. */
  close(why?: Error): void {
    this.#finish(why, new LinkLostError(why?.message ?? "the link was closed", { cause: why }));
  }

  #finish(why: Error | undefined, forStreams: StreamClosedError): void {
    if (this.#isClosed) return;
    this.#flush();
    this.#isClosed = true;
    if (why !== undefined) this.counts.resets += this.#streams.size;
    this.#options.onClosed(why);
    if (why === undefined) this.#endWire();
    else this.#wire.destroy();
    for (const stream of [...this.#streams.values()]) stream.onLost(forStreams);
    this.#streams.clear();
    this.#waiting.clear();
  }

  #endWire(): void {
    this.#wire.end();
    setTimeout(() => this.#wire.destroy(), END_MS).unref();
  }

  // --- events of the wire ---

  /** `bytes` are valid until the call returns. */
  receive(bytes: Buffer): void {
    if (this.#isClosed) return;
    this.#silentBeats = 0;
    this.counts.bytesIn += bytes.length;
    const framesBefore = this.#reader.frames;
    let violation: unknown;
    try {
      this.#reader.push(bytes);
    } catch (error) {
      violation = error;
    }
    this.counts.framesIn += this.#reader.frames - framesBefore;
    this.#deliverReads();
    if (violation === undefined) return;
    if (violation instanceof LinkFramingError) this.counts.errors++;
    else this.#options.reportBug(violation);
    this.close(violation instanceof Error ? violation : undefined);
  }

  #deliverReads(): void {
    const streams = this.#read;
    if (streams.length === 0) return;
    this.#read = [];
    for (const stream of streams) stream.deliverRead();
  }

  onDrain(): void {
    if (this.#isClosed) return;
    this.#isBlocked = this.#wire.pendingBytes >= MAX_UNSENT_BYTES;
    // One frame each: a stream that has more goes behind the others, and the loop comes to it again.
    for (const stream of this.#waiting) {
      if (this.#isBlocked) return;
      this.#waiting.delete(stream);
      stream.takeTurn();
    }
  }

  onWireClosed(error: Error | undefined): void {
    this.close(error ?? new LinkLostError("the link has ended"));
  }

  // --- frames of the peer ---

  onData(id: number, bytes: Buffer): void {
    const stream = this.#streams.get(id);
    if (stream === undefined) {
      this.#onUnknown(id);
      return;
    }
    const hadRead = stream.hasRead;
    if (!stream.onBytes(bytes)) this.#abort(stream);
    else if (!hadRead) this.#read.push(stream);
  }

  onOpen(id: number): void {
    // By a handler, within this read.
    if (this.#isClosed) return;
    const { onStream } = this.#options;
    if (onStream === undefined || id <= this.#lastId) {
      throw new LinkFramingError(`stream ${id} cannot be opened`);
    }
    if (this.#streams.size >= MAX_STREAMS || this.#options.mayOpen?.() === false) {
      this.#lastId = id;
      this.counts.resets++;
      this.sendReset(id, RESET.refused);
      return;
    }
    const stream = this.#add(id);
    try {
      onStream(stream);
    } catch (error) {
      this.#options.reportBug(error);
      stream.reset();
    }
  }

  onFin(id: number): void {
    const stream = this.#streams.get(id);
    stream?.deliverRead();
    if (stream === undefined) this.#onUnknown(id);
    else stream.onFin();
  }

  onReset(id: number, reason: number): void {
    const stream = this.#streams.get(id);
    if (stream === undefined) return;
    if (reason !== RESET.closed) this.counts.resets++;
    stream.deliverRead();
    stream.onReset(reason);
  }

  onCredit(id: number, bytes: number): void {
    const stream = this.#streams.get(id);
    if (stream === undefined) this.#onUnknown(id);
    else if (!stream.onCredit(bytes)) this.#abort(stream);
  }

  /** Any byte is a sign of life; further kinds belong to later versions. */
  onControl(): void {}

  /** A frame of a stream that is over may still have been on its way. */
  #onUnknown(id: number): void {
    if (id <= this.#lastId) return;
    this.counts.errors++;
    this.sendReset(id, RESET.aborted);
  }

  /** The peer has broken the rules of one stream. */
  #abort(stream: LinkStream): void {
    this.counts.errors++;
    stream.reset();
  }

  // --- output of the streams ---

  get isBlocked(): boolean {
    return this.#isBlocked;
  }

  /** Without those of this turn, which leave at its end. */
  get unsentBytes(): number {
    return this.#wire.pendingBytes;
  }

  get out(): Buffer {
    return this.#out;
  }

  beginData(stream: number, length: number): number {
    return this.#begin(stream, FRAME.data, length);
  }

  sendFin(stream: number): void {
    this.#send(stream, FRAME.fin);
  }

  sendReset(stream: number, reason: number): void {
    const at = this.#begin(stream, FRAME.reset, 1);
    this.#out[at] = reason;
  }

  sendCredit(stream: number, bytes: number): void {
    const at = this.#begin(stream, FRAME.credit, 4);
    writeUint32(this.#out, at, bytes);
  }

  waitForRoom(stream: LinkStream): void {
    this.#waiting.add(stream);
  }

  remove(stream: LinkStream): void {
    this.#streams.delete(stream.id);
    this.#waiting.delete(stream);
    if (this.#streams.size === 0 && !this.#isClosed) this.#options.onIdle?.();
  }

  reportBug(error: unknown): void {
    this.#options.reportBug(error);
  }

  #send(stream: number, type: number): void {
    this.#begin(stream, type, 0);
  }

  /** Begins a frame and returns where its payload goes. */
  #begin(stream: number, type: number, length: number): number {
    if (this.#out.length - this.#end < HEADER_BYTES + length) this.#flush();
    const at = this.#end;
    writeUint32(this.#out, at, length);
    writeUint32(this.#out, at + 4, headerWord(stream, type));
    this.#end = at + HEADER_BYTES + length;
    this.counts.framesOut++;
    if (!this.#isFlushDue) {
      this.#isFlushDue = true;
      atTurnEnd("flush", this);
    }
    return at + HEADER_BYTES;
  }

  /** The unsent frames. */
  #chunk(): Chunk {
    return this.#end - this.#start <= MAX_TEXT_BYTES
      ? this.#out.toString("latin1", this.#start, this.#end)
      : this.#out.subarray(this.#start, this.#end);
  }

  onTurnEnd(): void {
    this.#isFlushDue = false;
    this.#flush();
  }

  #flush(): void {
    const length = this.#end - this.#start;
    if (length > 0 && !this.#isClosed) {
      this.counts.bytesOut += length;
      this.#wire.write(this.#chunk());
      this.#isBlocked = this.#wire.pendingBytes >= MAX_UNSENT_BYTES;
    }
    if (length <= MAX_TEXT_BYTES) this.#end = this.#start;
    else this.#start = this.#end;
    // The rest of the buffer is used while a frame fits.
    if (this.#out.length - this.#end >= MAX_FRAME_BYTES) return;
    this.#out = Buffer.allocUnsafeSlow(BUFFER_BYTES);
    this.#start = 0;
    this.#end = 0;
  }
}
