/**
 * A connection on a `node:net` or `node:tls` socket: writes gathered into few system calls, exceptions in its handler
 * contained, the unacknowledged bytes measured.
 */
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import { plainAddress } from "../../shared/net/networks.ts";
import type { ReadTarget } from "./accepted-reads.ts";
import type { Origin } from "./await-proxy-header.ts";
import { retain, SocketReads } from "./read-buffers.ts";
import { createSendQueues } from "./send-queue.ts";
import {
  type BugReport,
  type Connection,
  type ConnectionHandler,
  MAX_PENDING_BYTES,
  NO_HANDLER,
  type Piece,
  sizeOf,
} from "./transport.ts";

/** Finds peers that vanished without FIN or RST; an open tunnel has no timeout of its own. */
export const KEEP_ALIVE_MS = 30_000;

/**
 * Chunks up to this total leave as one latin1 string: Node writes it from the stack, without a buffer of its own. It is also
 * the longest for which Node does so.
 */
const MAX_TEXT_BYTES = 16_384;
/** More chunks than this are copied into one buffer, whatever their size: each queued one costs a hundred bytes. */
const MAX_SEPARATE_CHUNKS = 64;

const sendQueues = createSendQueues();

/** What a connection is made of. */
export interface Sockets {
  readonly socket: Socket;
  /** The TCP socket: `socket` itself, or the one below its TLS. */
  readonly tcp: Socket;
  /** Of a socket whose reads began before its connection. */
  readonly reads?: SocketReads;
  readonly options: SocketOptions;
  /** Undefined: the peer is the client. */
  readonly origin?: Origin | undefined;
}

/** Whether TCP_NODELAY and keep-alive probes are set, or which write is the next. */
type SocketOptions = "first write" | "second write" | "set";

export class NetConnection implements Connection, ReadTarget {
  readonly secure: boolean;
  handler: ConnectionHandler = NO_HANDLER;
  readonly #socket: Socket;
  readonly #tcp: Socket;
  readonly #reads: SocketReads;
  readonly #reportBug: BugReport;
  #remoteAddress: string | undefined;
  #error: Error | undefined;
  #options: SocketOptions;
  #isDrainAwaited = false;
  #isPaused = false;

  constructor(sockets: Sockets, reportBug: BugReport) {
    const { socket } = sockets;
    this.#socket = socket;
    this.#tcp = sockets.tcp;
    this.#reads = sockets.reads ?? new SocketReads();
    this.#options = sockets.options;
    this.#reportBug = reportBug;
    this.secure = socket instanceof TLSSocket || sockets.origin?.isSecure === true;
    this.#remoteAddress = sockets.origin?.address;
    socket.on("error", (error) => {
      this.#error ??= error;
    });
    socket.on("end", () => this.#guard(() => this.handler.onEnd()));
    socket.on("close", () => this.#onClose());
  }

  /** Read when it is first asked for, because it costs a system call. A closed socket has none. */
  get remoteAddress(): string {
    this.#remoteAddress ??= plainAddress(this.#socket.remoteAddress);
    return this.#remoteAddress;
  }

  /** Where the next read goes. */
  get buffer(): Buffer {
    return this.#reads.buffer;
  }

  /** Passes on the bytes of a read into `buffer`. */
  onRead(length: number): void {
    this.receive(this.#reads.begin(length));
    this.#reads.end(length, this.#isPaused);
  }

  /** Passes received bytes to the handler. */
  receive(bytes: Buffer): void {
    // The hottest call: no closure here.
    try {
      this.handler.onData(bytes);
    } catch (error) {
      this.#fail(error);
    }
  }

  #onClose(): void {
    this.#reads.close();
    const { handler } = this;
    // Node's garbage collection keeps a closed socket for a while: all that served it need not stay with it.
    this.handler = NO_HANDLER;
    this.#guard(() => handler.onClose(this.#error));
  }

  get pendingBytes(): number {
    return this.#socket.writableLength;
  }

  measureBacklog(done: (bytes: number) => void): void {
    const { localAddress, localPort, remoteAddress, remotePort } = this.#tcp;
    if (!localAddress || !localPort || !remoteAddress || !remotePort) {
      done(this.pendingBytes);
      return;
    }
    void sendQueues
      .bytesOf({ localAddress, localPort, remoteAddress, remotePort })
      .then((bytes = 0) => {
        if (!this.#socket.destroyed) this.#guard(() => done(this.pendingBytes + bytes));
      });
  }

  write(chunks: readonly Piece[]): boolean {
    const socket = this.#socket;
    if (!socket.writable) return false;
    const first = chunks[0];
    if (first === undefined) return true;
    if (this.#options !== "set") this.#beforeWrite();
    const bytes = sizeOf(chunks);
    if (bytes <= MAX_TEXT_BYTES) {
      socket.write(textOf(chunks), "latin1");
    } else if (chunks.length === 1) {
      writeChunk(socket, first);
    } else if (chunks.length > MAX_SEPARATE_CHUNKS) {
      socket.write(gather(chunks, bytes));
    } else {
      socket.cork();
      for (const chunk of chunks) writeChunk(socket, chunk);
      socket.uncork();
    }
    if (socket.writableLength < MAX_PENDING_BYTES) return true;
    this.#awaitDrain();
    return false;
  }

  /** Most connections never stall. */
  #awaitDrain(): void {
    if (this.#isDrainAwaited) return;
    this.#isDrainAwaited = true;
    this.#socket.on("drain", () => this.#guard(() => this.handler.onDrain()));
  }

  /** The first write needs no options: without unacknowledged bytes the kernel sends it at once. */
  #beforeWrite(): void {
    if (this.#options === "first write") this.#options = "second write";
    else this.setOptions();
  }

  setOptions(): void {
    if (this.#options === "set") return;
    this.#options = "set";
    this.#tcp.setNoDelay(true);
    this.#tcp.setKeepAlive(true, KEEP_ALIVE_MS);
  }

  pause(): void {
    this.#isPaused = true;
    this.#socket.pause();
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#socket.resume();
  }

  end(): void {
    this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  reset(): void {
    const { writableEnded, writableFinished, writableLength } = this.#socket;
    // The kernel refuses to reset a socket whose FIN is being sent (EINVAL), and Node then never closes it.
    if (writableEnded && !writableFinished && writableLength === 0) {
      this.#socket.destroy();
      return;
    }
    // Below TLS too: an end without close_notify means the same (RFC 8446 §6.1), but many clients do not check.
    this.#tcp.resetAndDestroy();
    this.#socket.destroy();
  }

  #guard(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    this.#reportBug(error);
    this.#socket.destroy();
  }
}

/** The handler until the owner of the connection sets its own. */
function writeChunk(socket: Socket, chunk: Piece): void {
  if (typeof chunk === "string") {
    socket.write(chunk, "latin1");
    return;
  }
  const retained = retain(chunk);
  socket.write(retained.chunk, retained.release);
}

function textOf(chunks: readonly Piece[]): string {
  let text = "";
  for (const chunk of chunks) text += typeof chunk === "string" ? chunk : chunk.toString("latin1");
  return text;
}

function gather(chunks: readonly Piece[], size: number): Buffer {
  const all = Buffer.allocUnsafe(size);
  let at = 0;
  for (const chunk of chunks) {
    if (typeof chunk === "string") all.write(chunk, at, "latin1");
    else chunk.copy(all, at);
    at += chunk.length;
  }
  return all;
}
