/**
 * A connection on a `node:net` or `node:tls` socket: writes gathered into few system calls, exceptions in its handler
 * contained, the unacknowledged bytes measured.
 */
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import { plainAddress } from "../../shared/net/networks.ts";
import { createSendQueues } from "./send-queue.ts";
import {
  type BugReport,
  type Connection,
  type ConnectionHandler,
  MAX_PENDING_BYTES,
  type Piece,
} from "./transport.ts";

/**
 * All bytes from workers are read into this one buffer (`onread`), which saves an allocation of 64 KiB per read. The next
 * read of any connection overwrites it, so a write never keeps a slice of it: see `ownBytes`.
 */
export const READ_BUFFER = Buffer.allocUnsafeSlow(65_536);

/** Finds peers that vanished without FIN or RST; an open tunnel has no timeout of its own. */
export const KEEP_ALIVE_MS = 30_000;

/** Chunks up to this total are copied into one buffer: one system call, and cheaper than a gathered write. */
const GATHER_BYTES = 16_384;
/** More chunks than this are copied too, whatever their size: each queued one costs a hundred bytes. */
const MAX_SEPARATE_CHUNKS = 64;

const sendQueues = createSendQueues();

export class NetConnection implements Connection {
  readonly remoteAddress: string;
  readonly secure: boolean;
  handler: ConnectionHandler = NO_HANDLER;
  readonly #socket: Socket;
  /** The TCP socket: `#socket` itself, or the one below its TLS. */
  readonly #tcp: Socket;
  readonly #reportBug: BugReport;
  #error: Error | undefined;

  constructor(socket: Socket, tcp: Socket, reportBug: BugReport) {
    this.#socket = socket;
    this.#tcp = tcp;
    this.#reportBug = reportBug;
    this.secure = socket instanceof TLSSocket;
    this.remoteAddress = plainAddress(socket.remoteAddress);
    socket.on("error", (error) => {
      this.#error ??= error;
    });
    socket.on("end", () => this.#guard(() => this.handler.onEnd()));
    socket.on("drain", () => this.#guard(() => this.handler.onDrain()));
    socket.on("close", () => this.#guard(() => this.handler.onClose(this.#error)));
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
    const bytes = sizeOf(chunks);
    if (bytes <= GATHER_BYTES || chunks.length > MAX_SEPARATE_CHUNKS) {
      if (chunks.length === 1 && typeof first === "string") socket.write(first, "latin1");
      else socket.write(gather(chunks, bytes));
    } else {
      socket.cork();
      for (const chunk of chunks) writeChunk(socket, chunk);
      socket.uncork();
    }
    return socket.writableLength < MAX_PENDING_BYTES;
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
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
const NO_HANDLER: ConnectionHandler = {
  onData() {},
  onEnd() {},
  onDrain() {},
  onClose() {},
};

function writeChunk(socket: Socket, chunk: Piece): void {
  if (typeof chunk === "string") socket.write(chunk, "latin1");
  else socket.write(ownBytes(chunk));
}

/** Copies `bytes` out of the shared read buffer: an unfinished write would otherwise send what the next read puts there. */
function ownBytes(bytes: Buffer): Buffer {
  return bytes.buffer === READ_BUFFER.buffer ? Buffer.from(bytes) : bytes;
}

function sizeOf(chunks: readonly Piece[]): number {
  let size = 0;
  for (const chunk of chunks) size += chunk.length;
  return size;
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
