/**
 * One byte stream of a link, with the interface of a connection: half-closed by `end`, closed in order by `destroy`, aborted
 * by `reset`. A window limits what a side sends before the other one has consumed it, so that a stream that is not read holds
 * up itself only.
 */
import { MAX_PAYLOAD_BYTES, RESET, WINDOW_BYTES } from "./frames.ts";

/** Bytes, or latin1 text. */
export type Chunk = Buffer | string;

export interface StreamHandler {
  /** `bytes` are valid until the call returns: copy what is kept. */
  onData(bytes: Buffer): void;
  /** The peer has ended its half. */
  onEnd(): void;
  /** What was queued has left for the peer; called after a `write` that returned false. */
  onDrain(): void;
  /** Called exactly once, last. `error`: why it was not closed in order. */
  onClose(error: Error | undefined): void;
}

/** What a stream needs of its link. */
export interface StreamLink {
  /** Whether the link takes nothing more now; `takeTurn` of the streams in `waitForRoom` is called when it does again. */
  readonly isBlocked: boolean;
  /** Bytes of all streams that the kernel has not taken. */
  readonly unsentBytes: number;
  readonly remoteAddress: string;
  readonly counts: { stalls: number; resets: number };
  /** Room for a data frame of `length` bytes in `out`; returns where its payload goes, to be filled at once. */
  beginData(stream: number, length: number): number;
  readonly out: Buffer;
  sendFin(stream: number): void;
  sendReset(stream: number, reason: number): void;
  sendCredit(stream: number, bytes: number): void;
  waitForRoom(stream: LinkStream): void;
  remove(stream: LinkStream): void;
  reportBug(error: unknown): void;
}

/** Bytes that may be queued in a stream before its writer must stop. */
export const MAX_QUEUED_BYTES = 65_536;

/** The peer has aborted the stream. */
export class StreamClosedError extends Error {
  override readonly name: string = "StreamClosedError";
  /** As of a connection that was reset. */
  readonly code = "ECONNRESET";
}

/** The peer accepts no stream now; nothing of this one was handled. */
export class StreamRefusedError extends StreamClosedError {
  override readonly name = "StreamRefusedError";
}

/** The link has broken that carried the stream. */
export class LinkLostError extends StreamClosedError {
  override readonly name = "LinkLostError";
}

const NO_HANDLER: StreamHandler = { onData() {}, onEnd() {}, onDrain() {}, onClose() {} };

export class LinkStream {
  readonly id: number;
  readonly secure = false;
  handler: StreamHandler = NO_HANDLER;
  readonly #link: StreamLink;

  // --- to the peer ---
  /** Bytes that may be sent now. */
  #credit = WINDOW_BYTES;
  /** For lack of credit or of room in the link. */
  #queue: Buffer[] = [];
  #queuedBytes = 0;
  #isDrainAwaited = false;
  #isStalled = false;
  #onSent: (() => void) | undefined;
  /** `ending`: when the queue is empty. */
  #output: "open" | "ending" | "ended" = "open";

  // --- from the peer ---
  /** Bytes that the peer may still send. */
  #window = WINDOW_BYTES;
  /** Consumed, and not told to the peer yet. */
  #consumed = 0;
  #isPaused = false;
  /** Came while paused. */
  #inbox: Buffer[] = [];
  /** Of the read that is being handled; its further parts follow. */
  #read: Buffer | undefined;
  #readMore: Buffer[] | undefined;
  /** What follows the inbox: the end of the peer's half, of both halves, or of the link. */
  #input: "open" | "ending" | "closing" | "lost" | "ended" = "open";
  #lostBy: Error | undefined;
  #isClosed = false;

  constructor(id: number, link: StreamLink) {
    this.id = id;
    this.#link = link;
  }

  /** The address of the link's peer. */
  get remoteAddress(): string {
    return this.#link.remoteAddress;
  }

  /** A link sets the options of its connection itself. */
  setOptions(): void {}

  // --- writing ---

  /** Queued here. What has left for the link is on its way. */
  get pendingBytes(): number {
    return this.#queuedBytes;
  }

  /** Bytes written that would be lost with this process, those of the link's other streams included. */
  get unsentBytes(): number {
    return this.#queuedBytes + this.#link.unsentBytes;
  }

  /** `done`: the bytes that the peer has not consumed, as far as it has told. Not called once the stream is closed. */
  measureBacklog(done: (bytes: number) => void): void {
    queueMicrotask(() => {
      if (!this.#isClosed) done(this.#queuedBytes + WINDOW_BYTES - this.#credit);
    });
  }

  /** False: stop until `onDrain`. Writes after `end`, and to a peer that is gone, are dropped. */
  write(chunks: readonly Chunk[]): boolean {
    // No `onDrain` would follow.
    if (this.#output !== "open") return true;
    let size = 0;
    for (const chunk of chunks) size += chunk.length;
    const at = this.reserve(size);
    if (at >= 0) {
      copyChunks(chunks, this.#link.out, at);
      return true;
    }
    if (size === 0) return true;
    const copy = Buffer.allocUnsafe(size);
    copyChunks(chunks, copy, 0);
    this.#queue.push(copy);
    this.#queuedBytes += size;
    this.#pump();
    if (this.#queuedBytes < MAX_QUEUED_BYTES) return true;
    this.#isDrainAwaited = true;
    return false;
  }

  /**
   * Begins one frame of `size` bytes in the link's buffer (`out`) and returns where they go, to be filled at once; -1 when the
   * frame cannot leave now as a whole, or something waits before it.
   */
  reserve(size: number): number {
    const mayLeave =
      size > 0 &&
      size <= this.#credit &&
      size <= MAX_PAYLOAD_BYTES &&
      this.#queuedBytes === 0 &&
      this.#output === "open" &&
      !this.#link.isBlocked;
    if (!mayLeave) return -1;
    this.#credit -= size;
    return this.#link.beginData(this.id, size);
  }

  get out(): Buffer {
    return this.#link.out;
  }

  /** Sends one frame of what waits for room. */
  takeTurn(): void {
    if (this.#queuedBytes > 0 && this.#credit > 0) this.#sendQueued();
    if (this.#queuedBytes > 0 && this.#credit > 0) this.#link.waitForRoom(this);
    else this.#pump();
  }

  /** Sends what is queued as far as credit and link allow. */
  #pump(): void {
    while (this.#queuedBytes > 0 && this.#credit > 0) {
      if (this.#link.isBlocked) {
        this.#link.waitForRoom(this);
        return;
      }
      this.#sendQueued();
    }
    if (this.#queuedBytes > 0) {
      if (!this.#isStalled) this.#link.counts.stalls++;
      this.#isStalled = true;
      return;
    }
    if (this.#output === "ending") this.#sendFin();
    this.#releaseWriter();
  }

  #releaseWriter(): void {
    this.#tellSent();
    if (!this.#isDrainAwaited) return;
    this.#isDrainAwaited = false;
    queueMicrotask(() => {
      if (!this.#isClosed) this.#guard(() => this.handler.onDrain());
    });
  }

  /** One frame of the queue's first chunk. */
  #sendQueued(): void {
    const first = this.#queue[0];
    if (first === undefined) return;
    const length = Math.min(first.length, this.#credit, MAX_PAYLOAD_BYTES);
    const at = this.#link.beginData(this.id, length);
    first.copy(this.#link.out, at, 0, length);
    this.#credit -= length;
    this.#queuedBytes -= length;
    if (length === first.length) this.#queue.shift();
    else this.#queue[0] = first.subarray(length);
  }

  end(): void {
    if (this.#output !== "open") return;
    if (this.#queuedBytes > 0) this.#output = "ending";
    else this.#sendFin();
  }

  /** Calls `done` when everything written has left for the link, or cannot any more. */
  whenSent(done: () => void): void {
    if (this.#queuedBytes === 0) done();
    else this.#onSent = done;
  }

  #tellSent(): void {
    const done = this.#onSent;
    this.#onSent = undefined;
    done?.();
  }

  #sendFin(): void {
    this.#output = "ended";
    this.#link.sendFin(this.id);
    if (this.#input === "ended") this.#finish(undefined);
  }

  /** Closes it in order; what is queued is dropped, what has left arrives. */
  destroy(): void {
    if (this.#isClosed) return;
    // A part of what was written is missing at the peer.
    this.#link.sendReset(this.id, this.#queuedBytes > 0 ? RESET.aborted : RESET.closed);
    this.#finish(undefined);
  }

  /** Closes it at once, so that the peer sees that the data is incomplete. */
  reset(): void {
    if (this.#isClosed) return;
    this.#link.counts.resets++;
    this.#link.sendReset(this.id, RESET.aborted);
    this.#finish(undefined);
  }

  // --- reading ---

  pause(): void {
    this.#isPaused = true;
  }

  /** What came meanwhile is delivered soon, not in this call. */
  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    if (this.#inbox.length > 0 || this.#input !== "open")
      queueMicrotask(() => this.#deliverInbox());
  }

  #deliverInbox(): void {
    while (this.#inbox.length > 0 && !this.#isPaused && !this.#isClosed) {
      const bytes = this.#inbox.shift();
      if (bytes !== undefined) this.#deliver(bytes);
    }
    this.#deliverEnd();
  }

  #deliver(bytes: Buffer): void {
    // The hottest call: no closure here.
    try {
      this.handler.onData(bytes);
    } catch (error) {
      this.#fail(error);
    }
    if (this.#isClosed) return;
    this.#consumed += bytes.length;
    if (this.#consumed < WINDOW_BYTES / 2) return;
    this.#link.sendCredit(this.id, this.#consumed);
    this.#window += this.#consumed;
    this.#consumed = 0;
  }

  #deliverEnd(): void {
    const input = this.#input;
    if (this.#isClosed || this.#inbox.length > 0 || this.#isPaused) return;
    if (input === "open" || input === "ended") return;
    this.#input = "ended";
    if (input !== "lost") this.#guard(() => this.handler.onEnd());
    if (input === "closing") this.#finish(undefined);
    else if (this.#output === "ended") this.#finish(this.#lostBy);
  }

  // --- called by the link ---

  /** Bytes of the read that is being handled; `deliverRead` follows. False: more than the window, or behind the end. */
  onBytes(bytes: Buffer): boolean {
    this.#window -= bytes.length;
    if (this.#window < 0 || this.#input !== "open") return false;
    if (this.#read === undefined) this.#read = bytes;
    else if (this.#readMore === undefined) this.#readMore = [bytes];
    else this.#readMore.push(bytes);
    return true;
  }

  /** Whether `deliverRead` has something to deliver. */
  get hasRead(): boolean {
    return this.#read !== undefined;
  }

  /** Delivers what one read has brought, joined. */
  deliverRead(): void {
    const first = this.#read;
    const more = this.#readMore;
    if (first === undefined) return;
    this.#read = undefined;
    this.#readMore = undefined;
    if (this.#isClosed) return;
    const bytes = more === undefined ? first : Buffer.concat([first, ...more]);
    // Behind what waits already.
    if (this.#isPaused || this.#inbox.length > 0) this.#inbox.push(Buffer.from(bytes));
    else this.#deliver(bytes);
  }

  onFin(): void {
    if (this.#input !== "open") return;
    this.#input = "ending";
    this.#deliverEnd();
  }

  onReset(reason: number): void {
    if (reason === RESET.refused) {
      this.#finish(new StreamRefusedError("the peer accepts no stream"));
      return;
    }
    if (reason !== RESET.closed) {
      this.#finish(new StreamClosedError("the peer has aborted the stream"));
      return;
    }
    // Nothing more is accepted; what came before is still delivered.
    this.#closeOutput();
    if (this.#input === "ended") {
      this.#finish(undefined);
      return;
    }
    this.#input = "closing";
    this.#deliverEnd();
  }

  /** False: more than was sent. */
  onCredit(bytes: number): boolean {
    this.#credit += bytes;
    if (this.#credit > WINDOW_BYTES) return false;
    this.#isStalled = false;
    if (this.#queuedBytes > 0) this.#pump();
    return true;
  }

  /** The link is gone; what came before is still delivered, and the end with it. */
  onLost(error: Error): void {
    // Closed in order: nothing is missing.
    if (this.#input === "closing") return;
    if (this.#input === "ended" || (this.#input === "open" && this.#inbox.length === 0)) {
      this.#finish(error);
      return;
    }
    this.#closeOutput();
    if (this.#input === "open") this.#input = "lost";
    this.#lostBy = error;
    this.#deliverEnd();
  }

  // --- the end ---

  #finish(error: Error | undefined): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#output = "ended";
    this.#input = "ended";
    this.#dropQueue();
    this.#inbox = [];
    this.#read = undefined;
    this.#readMore = undefined;
    this.#link.remove(this);
    this.#tellSent();
    queueMicrotask(() => {
      const { handler } = this;
      this.handler = NO_HANDLER;
      try {
        handler.onClose(error);
      } catch (bug) {
        this.#link.reportBug(bug);
      }
    });
  }

  /** Nothing more can be sent. A writer that waits goes on: it may read again only when its output is written. */
  #closeOutput(): void {
    this.#output = "ended";
    this.#dropQueue();
    this.#releaseWriter();
  }

  #dropQueue(): void {
    this.#queue = [];
    this.#queuedBytes = 0;
  }

  #guard(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** A bug in a handler concerns its stream only. */
  #fail(error: unknown): void {
    this.#link.reportBug(error);
    this.reset();
  }
}

function copyChunks(chunks: readonly Chunk[], to: Buffer, start: number): void {
  let at = start;
  for (const chunk of chunks) {
    if (typeof chunk === "string") to.write(chunk, at, "latin1");
    else chunk.copy(to, at);
    at += chunk.length;
  }
}
