/**
 * A WebSocket between a simulated client, balancer and worker: streams of bytes that arrive in order, late and in any pieces,
 * until the process at one end is killed or what carries them breaks.
 */
import { EventEmitter } from "node:events";
import type { Duplex } from "node:stream";
import type { WebSocket } from "ws";
import type { Connection, ConnectionHandler, Piece } from "../../balancer/transport/transport.ts";
import { LinkLostError } from "../../shared/link/stream.ts";
import { clientFrame, workerFrame } from "../balancer/websocket/frames.ts";
import type { Kernel, Process } from "../model/kernel.ts";
import type { Random } from "../model/random.ts";

const LATENCY_MS = [0.1, 2] as const;

export interface Wires {
  readonly kernel: Kernel;
  readonly random: Random;
}

/** One direction. */
class Lane {
  readonly #wires: Wires;
  readonly #deliver: (bytes: Buffer) => void;
  #inFlight: Buffer[] = [];
  #lastMs = 0;
  #isCut = false;

  constructor(wires: Wires, deliver: (bytes: Buffer) => void) {
    this.#wires = wires;
    this.#deliver = deliver;
  }

  send(bytes: Buffer): void {
    if (this.#isCut) return;
    const { random } = this.#wires;
    for (let at = 0; at < bytes.length; ) {
      const size = random.oneIn(4) ? random.int(1, bytes.length) : bytes.length;
      this.#sendPiece(Buffer.from(bytes.subarray(at, at + size)));
      at += size;
    }
  }

  /** Behind what was sent. */
  behind(action: () => void): void {
    this.#at(() => action());
  }

  /** Nothing more is sent; of what is in flight some arrives, and then `lost` is called. */
  cut(lost: () => void): void {
    if (this.#isCut) return;
    this.#isCut = true;
    const rest = Buffer.concat(this.#inFlight);
    this.#inFlight = [];
    const arrives = rest.subarray(0, this.#wires.random.int(0, rest.length));
    this.#at(() => {
      if (arrives.length > 0) this.#deliver(arrives);
      lost();
    });
  }

  #sendPiece(piece: Buffer): void {
    this.#inFlight.push(piece);
    this.#at(() => {
      const at = this.#inFlight.indexOf(piece);
      if (at < 0) return;
      this.#inFlight.splice(at, 1);
      this.#deliver(piece);
    });
  }

  #at(action: () => void): void {
    const { kernel, random } = this.#wires;
    this.#lastMs = Math.max(this.#lastMs, kernel.nowMs + random.between(...LATENCY_MS));
    kernel.after(this.#lastMs - kernel.nowMs, action);
  }
}

/** The balancer's end of a connection, to a client or to a worker. */
export class NearEnd implements Connection {
  readonly remoteAddress = "192.0.2.1";
  readonly secure = false;
  readonly pendingBytes = 0;
  handler: ConnectionHandler = { onData() {}, onEnd() {}, onDrain() {}, onClose() {} };
  /** Its process: nothing happens in one that is dead. */
  readonly #process: Process;
  readonly #send: (bytes: Buffer) => void;
  readonly #onGone: () => void;
  #isPaused = false;
  #held: Buffer[] = [];
  #isClosed = false;

  constructor(process: Process, send: (bytes: Buffer) => void, onGone: () => void) {
    this.#process = process;
    this.#send = send;
    this.#onGone = onGone;
  }

  setOptions(): void {}

  measureBacklog(done: (bytes: number) => void): void {
    done(0);
  }

  write(pieces: readonly Piece[]): boolean {
    if (this.#isClosed) return true;
    this.#send(Buffer.concat(pieces.map((piece) => Buffer.from(piece as string, "latin1"))));
    return true;
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    for (const bytes of this.#held.splice(0)) this.receive(bytes);
  }

  end(): void {
    this.destroy();
  }

  destroy(): void {
    this.lose(undefined);
    this.#onGone();
  }

  reset(): void {
    this.destroy();
  }

  receive(bytes: Buffer): void {
    if (this.#isClosed || this.#process.state === "dead") return;
    if (this.#isPaused) this.#held.push(bytes);
    else {
      // The buffer of a read is used again.
      const read = Buffer.from(bytes);
      this.handler.onData(read);
      read.fill("?");
    }
  }

  lose(error: Error | undefined): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#process.state === "dead") return;
    if (error === undefined) this.handler.onEnd();
    this.handler.onClose(error);
  }
}

/** The worker's end: what `StreamConnection` uses of a socket and of the WebSocket on it. */
export class WorkerEnd extends EventEmitter {
  readonly OPEN = 1;
  readyState = 1;
  errored: Error | null = null;
  readonly #process: Process;
  readonly #send: (bytes: Buffer) => void;
  readonly #onClosed: () => void;
  readonly #reader: FrameReader;
  #isPaused = false;
  #held: Buffer[] = [];
  #slowUntilMs = 0;
  #unsent: { bytes: Buffer; done: (() => void) | undefined }[] = [];

  constructor(process: Process, send: (bytes: Buffer) => void, onClosed: () => void) {
    super();
    this.#process = process;
    this.#send = send;
    this.#onClosed = onClosed;
    this.#reader = new FrameReader(({ opcode, payload }) => {
      if (opcode === 1 || opcode === 2) this.emit("message", payload, opcode === 2);
      else if (opcode === 8) this.close();
    });
  }

  get webSocket(): WebSocket {
    return this as unknown as WebSocket;
  }

  get stream(): Duplex {
    return this as unknown as Duplex;
  }

  /** Its client takes nothing until then. */
  slowDown(untilMs: number): void {
    this.#slowUntilMs = untilMs;
  }

  get writableLength(): number {
    return this.#unsent.reduce((sum, { bytes }) => sum + bytes.length, 0);
  }

  receive(bytes: Buffer): void {
    if (this.readyState !== 1 || this.#process.state === "dead") return;
    if (this.#isPaused) this.#held.push(bytes);
    else this.#reader.push(bytes);
  }

  // --- the stream ---

  write(bytes: Buffer, done?: () => void): void {
    this.#unsent.push({ bytes, done });
    this.#flush();
  }

  cork(): void {}

  uncork(): void {}

  end(): void {
    this.terminate();
  }

  #flush(): void {
    const { clock, state } = this.#process;
    if (state === "dead") return;
    const waitMs = this.#slowUntilMs - clock.nowMs();
    if (waitMs > 0) {
      clock.after(waitMs, () => this.#flush());
      return;
    }
    for (const { bytes, done } of this.#unsent.splice(0)) {
      this.#send(bytes);
      if (done !== undefined) clock.after(0, done);
    }
  }

  // --- the WebSocket ---

  send(text: string): void {
    this.write(workerFrame(1, Buffer.from(text)));
  }

  close(): void {
    if (this.readyState !== 1) return;
    this.write(workerFrame(8, Buffer.alloc(0)));
    this.terminate();
  }

  terminate(): void {
    if (this.readyState !== 1) return;
    this.readyState = 3;
    this.#onClosed();
    this.#process.clock.after(0, () => this.emit("close"));
  }

  /** What carried it is gone. */
  lose(): void {
    if (this.readyState !== 1) return;
    this.readyState = 3;
    this.errored = new LinkLostError("the link is lost");
    if (this.#process.state !== "dead") this.emit("close");
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    for (const bytes of this.#held.splice(0)) this.receive(bytes);
  }
}

/** A stream of a link between a balancer and a worker. */
export function openStream(wires: Wires, balancer: Process, worker: Process) {
  const toWorker = new Lane(wires, (bytes) => far.receive(bytes));
  const toBalancer = new Lane(wires, (bytes) => near.receive(bytes));
  const near: NearEnd = new NearEnd(
    balancer,
    (bytes) => toWorker.send(bytes),
    () => toWorker.cut(() => far.lose()),
  );
  const far: WorkerEnd = new WorkerEnd(
    worker,
    (bytes) => toBalancer.send(bytes),
    () => toBalancer.behind(() => near.lose(undefined)),
  );
  return {
    near,
    far,
    /** The link breaks, or the worker dies. */
    lose: (): void => {
      toBalancer.cut(() => near.lose(new LinkLostError("the link is lost")));
      toWorker.cut(() => far.lose());
    },
  };
}

/** A client's connection to a balancer. */
export function openClient(
  wires: Wires,
  balancer: Process,
  events: { frame(frame: Frame): void; closed(): void },
) {
  let isOpen = true;
  const close = (): void => {
    if (!isOpen) return;
    isOpen = false;
    events.closed();
  };
  const reader = new FrameReader((frame) => {
    if (isOpen) events.frame(frame);
  });
  const toClient = new Lane(wires, (bytes) => {
    if (isOpen) reader.push(bytes);
  });
  const toBalancer = new Lane(wires, (bytes) => near.receive(bytes));
  const near: NearEnd = new NearEnd(
    balancer,
    (bytes) => toClient.send(bytes),
    () => toClient.behind(close),
  );
  return {
    near,
    send: (opcode: number, payload: Buffer): void => toBalancer.send(clientFrame(opcode, payload)),
    /** Its balancer dies, or it closes. */
    lose(): void {
      toClient.cut(close);
      toBalancer.cut(() => near.lose(undefined));
    },
  };
}

// --- frames ---

export interface Frame {
  readonly opcode: number;
  readonly payload: Buffer;
}

/** Of either side; a client's mask is zero. */
class FrameReader {
  readonly #onFrame: (frame: Frame) => void;
  #kept: Buffer = Buffer.alloc(0);

  constructor(onFrame: (frame: Frame) => void) {
    this.#onFrame = onFrame;
  }

  push(bytes: Buffer): void {
    this.#kept = Buffer.concat([this.#kept, bytes]);
    for (;;) {
      const kept = this.#kept;
      if (kept.length < 2) return;
      const second = kept.readUInt8(1);
      const short = second & 0x7f;
      const size = short === 126 ? 2 : short === 127 ? 8 : 0;
      const start = 2 + size + ((second & 0x80) !== 0 ? 4 : 0);
      if (kept.length < start) return;
      const length =
        size === 0 ? short : size === 2 ? kept.readUInt16BE(2) : Number(kept.readBigUInt64BE(2));
      if (kept.length < start + length) return;
      this.#kept = kept.subarray(start + length);
      this.#onFrame({
        opcode: kept.readUInt8(0) & 0x0f,
        payload: kept.subarray(start, start + length),
      });
    }
  }
}
