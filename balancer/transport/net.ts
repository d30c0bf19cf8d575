/**
 * The transport on `node:net` and `node:tls`, public API only.
 */
import { constants, randomBytes } from "node:crypto";
import { createConnection, createServer, type Server, type Socket } from "node:net";
import {
  createSecureContext,
  createServer as createTlsServer,
  type SecureContext,
  type SecureContextOptions,
  TLSSocket,
} from "node:tls";
import { plainAddress } from "../../shared/net/networks.ts";
import { createSendQueues } from "./send-queue.ts";
import {
  type Address,
  type BugReport,
  type Connection,
  type ConnectionHandler,
  type Dial,
  type DialOutcome,
  type Listening,
  type ListenOptions,
  MAX_PENDING_BYTES,
  type Piece,
  type TlsCertificate,
  type TlsOptions,
  type Transport,
} from "./transport.ts";

/**
 * Everything that workers send is read into this one buffer (`onread`), which saves an allocation of 64 KiB per read. It
 * is overwritten by the next read of any connection, so a write never keeps it: see `own`.
 */
const READ_BUFFER = Buffer.allocUnsafeSlow(65_536);

/** Pieces up to this size together are copied into one buffer: one system call, and cheaper than a gathered write. */
const GATHER_BYTES = 16_384;
/** So are more pieces than this, whatever their size: each one that waits by itself costs a hundred bytes. */
const MAX_SINGLE_PIECES = 64;

/** Finds peers that vanished without a word; an open tunnel has no time-out of its own. */
const KEEP_ALIVE_MS = 30_000;

/**
 * Connections that the kernel may hold before they are accepted: when a worker has died, its people come back within a
 * second, with several each. A dropped one is tried again only after 1 s. Linux caps it at net.core.somaxconn.
 */
const BACKLOG = 16_384;

/** Sockets that are told why they are refused, at a time; more are closed without a word. Each costs a descriptor. */
const MAX_REFUSALS = 16;
/** Time for a refused client to take its answer. */
const REFUSAL_MS = 1000;

const sendQueues = createSendQueues();

export function createNetTransport(needs: { reportBug: BugReport }): Transport {
  return {
    dial: (address, outcome) => dial(address, outcome, needs.reportBug),
    listen: (options) => listen(options, needs.reportBug),
  };
}

// --- connections ---

class NetConnection implements Connection {
  readonly remoteAddress: string;
  readonly secure: boolean;
  handler: ConnectionHandler = IGNORE;
  readonly #socket: Socket;
  /** The TCP socket: `socket` itself, or the one below its TLS. */
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
    socket.on("end", () => this.#tell(() => this.handler.onEnd()));
    socket.on("drain", () => this.#tell(() => this.handler.onDrain()));
    socket.on("close", () => this.#tell(() => this.handler.onClose(this.#error)));
  }

  /** Hands on what was read. */
  receive(bytes: Buffer): void {
    // The hottest call of all: no closure here.
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
        if (!this.#socket.destroyed) this.#tell(() => done(this.pendingBytes + bytes));
      });
  }

  write(pieces: readonly Piece[]): boolean {
    const socket = this.#socket;
    if (!socket.writable) return false;
    const first = pieces[0];
    if (first === undefined) return true;
    const bytes = sizeOf(pieces);
    if (bytes <= GATHER_BYTES || pieces.length > MAX_SINGLE_PIECES) {
      if (pieces.length === 1 && typeof first === "string") socket.write(first, "latin1");
      else socket.write(gather(pieces, bytes));
    } else {
      socket.cork();
      for (const piece of pieces) writePiece(socket, piece);
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
    // The system refuses to reset a socket whose FIN is just being sent (EINVAL), and Node never closes such a one then.
    if (writableEnded && !writableFinished && writableLength === 0) {
      this.#socket.destroy();
      return;
    }
    // Below TLS too: an end without close_notify says the same (RFC 8446 §6.1), but many clients do not look.
    this.#tcp.resetAndDestroy();
    this.#socket.destroy();
  }

  #tell(call: () => void): void {
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

function writePiece(socket: Socket, piece: Piece): void {
  if (typeof piece === "string") socket.write(piece, "latin1");
  else socket.write(own(piece));
}

/** `bytes`, copied when they stand in the shared read buffer: an unfinished write would send what the next read puts there. */
function own(bytes: Buffer): Buffer {
  return bytes.buffer === READ_BUFFER.buffer ? Buffer.from(bytes) : bytes;
}

function sizeOf(pieces: readonly Piece[]): number {
  let size = 0;
  for (const piece of pieces) size += piece.length;
  return size;
}

function gather(pieces: readonly Piece[], size: number): Buffer {
  const all = Buffer.allocUnsafe(size);
  let at = 0;
  for (const piece of pieces) {
    if (typeof piece === "string") all.write(piece, at, "latin1");
    else piece.copy(all, at);
    at += piece.length;
  }
  return all;
}

/** A connection that nobody listens to yet. */
const IGNORE: ConnectionHandler = {
  onData() {},
  onEnd() {},
  onDrain() {},
  onClose() {},
};

// --- to a worker ---

function dial(address: Address, outcome: DialOutcome, reportBug: BugReport): Dial {
  let state: "dialing" | "open" | "over" = "dialing";
  let connection: NetConnection | undefined;
  const socket = createConnection({
    host: address.host,
    port: address.port,
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE_MS,
    onread: {
      buffer: READ_BUFFER,
      callback(length) {
        connection?.receive(READ_BUFFER.subarray(0, length));
        return true;
      },
    },
  });
  socket.on("error", (error) => {
    if (state !== "dialing") return;
    state = "over";
    outcome.onFail(error);
  });
  socket.once("connect", () => {
    if (state !== "dialing") return;
    state = "open";
    connection = new NetConnection(socket, socket, reportBug);
    // Nothing is kept in the stream, but it must flow to report the end.
    socket.resume();
    try {
      outcome.onOpen(connection);
    } catch (error) {
      reportBug(error);
      socket.destroy();
    }
  });
  return {
    cancel() {
      if (state !== "dialing") return;
      state = "over";
      socket.destroy();
    },
  };
}

// --- from clients ---

async function listen(options: ListenOptions, reportBug: BugReport): Promise<Listening> {
  const serve = (socket: Socket, tcp: Socket, onConnection: ListenOptions["onConnection"]) => {
    const connection = new NetConnection(socket, tcp, reportBug);
    onConnection(connection);
    socket.on("data", (bytes: Buffer) => connection.receive(bytes));
  };
  const tls = options.tls && listenTls(options, options.tls, serve);
  const server =
    tls?.server ??
    createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      if (admit(socket, options)) serve(socket, socket, options.onConnection);
      else refuse(socket, options.refusal());
    });
  await bound(server, options);
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : options.port,
    useCertificates: (certificates) => tls?.use(certificates),
    close: () => {
      tls?.close();
      server.close();
    },
  };
}

/** Applies the caller's limit to a fresh socket, before it costs anything. */
function admit(socket: Socket, options: ListenOptions): boolean {
  socket.on("error", ignore);
  if (!options.admit()) return false;
  socket.setKeepAlive(true, KEEP_ALIVE_MS);
  socket.once("close", options.onGone);
  return true;
}

let refusals = 0;

/** Tells a client that it is refused. What it sends is read and thrown away: an unread byte would cost it the answer. */
function refuse(socket: Socket, answer: string): void {
  if (refusals >= MAX_REFUSALS) {
    socket.destroy();
    return;
  }
  refusals++;
  const limit = setTimeout(() => socket.destroy(), REFUSAL_MS);
  socket.once("close", () => {
    refusals--;
    clearTimeout(limit);
  });
  socket.once("end", () => socket.destroy());
  socket.resume();
  socket.end(answer, "latin1");
}

// --- TLS ---

/**
 * How long a key for session tickets is used. Whoever gets to know one can read the resumed TLS 1.2 connections of that
 * time; a ticket of before costs its client one full handshake.
 */
const TICKET_KEY_MS = 12 * 3600 * 1000;
/** What `setTicketKeys` takes. */
const TICKET_KEY_BYTES = 48;

function listenTls(
  options: ListenOptions,
  tls: TlsOptions,
  serve: (socket: Socket, tcp: Socket, onConnection: ListenOptions["onConnection"]) => void,
): {
  server: Server;
  use: (certificates: readonly TlsCertificate[]) => void;
  close: () => void;
} {
  let contexts = contextsOf(tls.certificates);
  // A TLS socket does not tell which one it stands on.
  const pending = new Map<string, PendingHandshake>();
  const secure = createTlsServer(
    {
      ...secureOptions(tls.certificates[0]),
      // Called only when the client asks for a name. An exception here would end the process (CVE-2026-21637).
      SNICallback: (name, done) => done(null, pickContext(contexts, name)),
      ALPNProtocols: ["http/1.1"],
      // `limit` below ends a handshake, and counts from the accept.
      handshakeTimeout: tls.handshakeTimeoutMs + 1000,
    },
    (socket) => {
      const handshake = pending.get(peerOf(socket));
      // Gone between its handshake and now.
      if (handshake === undefined) socket.destroy();
      else {
        clearTimeout(handshake.limit);
        serve(socket, handshake.tcp, options.onConnection);
      }
    },
  );
  secure.on("tlsClientError", (_error, socket) => {
    tls.onHandshakeFailed();
    socket.destroy();
  });
  // Node would hand a socket to TLS at once; then what a client says instead of a handshake is lost.
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    if (!admit(socket, options)) {
      socket.destroy();
      return;
    }
    const peer = peerOf(socket);
    const handshake = {
      tcp: socket,
      limit: setTimeout(() => socket.destroy(), tls.handshakeTimeoutMs),
    };
    pending.set(peer, handshake);
    socket.once("close", () => {
      clearTimeout(handshake.limit);
      // A client that was reset may be back from the same port before this is told.
      if (pending.get(peer) === handshake) pending.delete(peer);
    });
    readFirst(socket, {
      onBytes(first) {
        if (first === TLS_HANDSHAKE) {
          secure.emit("connection", socket);
        } else if (isText(first)) {
          clearTimeout(handshake.limit);
          serve(socket, socket, tls.onPlainConnection);
          // It was read by hand so far.
          socket.resume();
        } else {
          tls.onHandshakeFailed();
          socket.destroy();
        }
      },
      onNothing: tls.onHandshakeFailed,
    });
  });
  const rotation = setInterval(() => {
    secure.setTicketKeys(randomBytes(TICKET_KEY_BYTES));
  }, TICKET_KEY_MS).unref();
  return {
    server,
    use(certificates) {
      const fresh = contextsOf(certificates);
      secure.setSecureContext(secureOptions(certificates[0]));
      contexts = fresh;
    },
    close: () => clearInterval(rotation),
  };
}

/** A client of the HTTPS port, until it has gone. */
interface PendingHandshake {
  readonly tcp: Socket;
  /** Runs until the handshake is over. */
  readonly limit: NodeJS.Timeout;
}

/** The type of the record with which every TLS client begins (RFC 8446 §5.1). */
const TLS_HANDSHAKE = 0x16;

/** Whether a first byte begins a line of text, or an empty one: HTTP, or a PROXY protocol header. */
function isText(byte: number): boolean {
  return byte === 0x0d || (byte >= 0x21 && byte <= 0x7e);
}

/**
 * Passes on the first byte of a connection, once; what came stays unread. `onNothing`: it closed without any, or was closed.
 */
function readFirst(
  socket: Socket,
  handlers: { onBytes: (first: number) => void; onNothing: () => void },
): void {
  const stop = (): void => {
    socket.off("readable", onReadable).off("end", onEnd).off("close", onClose);
  };
  const onReadable = (): void => {
    const bytes: Buffer | null = socket.read();
    const first = bytes?.[0];
    if (bytes === null || first === undefined) return;
    stop();
    socket.unshift(bytes);
    handlers.onBytes(first);
  };
  const onEnd = (): void => {
    socket.destroy();
  };
  const onClose = (): void => {
    stop();
    handlers.onNothing();
  };
  socket.on("readable", onReadable).on("end", onEnd).on("close", onClose);
}

interface NamedContext {
  readonly certificate: TlsCertificate;
  readonly context: SecureContext;
}

function contextsOf(certificates: readonly TlsCertificate[]): readonly NamedContext[] {
  return certificates.map((certificate) => ({
    certificate,
    context: createSecureContext(secureOptions(certificate)),
  }));
}

/** Undefined leaves the choice to the server's own context, which is that of the first certificate. */
function pickContext(contexts: readonly NamedContext[], name: string): SecureContext | undefined {
  return contexts.find(({ certificate }) => certificate.isFor(name))?.context;
}

function secureOptions(certificate: TlsCertificate | undefined): SecureContextOptions {
  return {
    cert: certificate?.cert,
    key: certificate?.key,
    minVersion: "TLSv1.2",
    honorCipherOrder: true,
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
  };
}

/** Who is at the other end: on one of our ports no two connections have the same. */
function peerOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`;
}

function bound(server: Server, at: Address): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host: at.host, port: at.port, backlog: BACKLOG }, () => {
      server.off("error", reject);
      // An accept that fails (no descriptors left) concerns one connection, not the port.
      server.on("error", ignore);
      resolve();
    });
  });
}

function ignore(): void {}
