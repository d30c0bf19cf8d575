/**
 * The contract between the data path and the sockets below it: a connection is bytes in, bytes out, backpressure, a
 * graceful end and an abrupt one. Implementations are in this folder; the data path imports none of them.
 */

/** A chunk to send: bytes, or latin1 text (heads stay text until they are written). */
export type Piece = Buffer | string;

/** The bytes of all chunks. */
export function sizeOf(chunks: readonly Piece[]): number {
  let size = 0;
  // Two accesses, because V8 compiles one of a property that has many kinds of owner to a slow look-up.
  for (const chunk of chunks) size += typeof chunk === "string" ? chunk.length : chunk.byteLength;
  return size;
}

export interface Connection {
  /**
   * The address of the peer, or of the client that a TCP balancer names, without port; IPv4 addresses are never in IPv6 form.
   * Empty when it is not known.
   */
  readonly remoteAddress: string;
  /** Whether the client came by TLS, to here or to a TCP balancer that says so. */
  readonly secure: boolean;
  /** Receives the events. May be replaced at any time; the next event goes to the new one. */
  handler: ConnectionHandler;
  /**
   * Sets TCP_NODELAY and keep-alive probes. The second `write` does so too; before it only a connection needs them that
   * stays open and may never write again. Most connections of one request save the system calls.
   */
  setOptions(): void;
  /**
   * Sends the chunks in order, in as few system calls as possible. Slices of what `onData` delivered are allowed: the
   * transport copies them where it must. False: more than `MAX_PENDING_BYTES` are queued, stop until `onDrain`. Writes
   * after `end` are dropped.
   */
  write(chunks: readonly Piece[]): boolean;
  /** Bytes written and not yet handed to the kernel. */
  readonly pendingBytes: number;
  /**
   * Calls `done` with the bytes that the peer has not acknowledged: those queued here, plus those in the kernel's send
   * queue where it can be read. Much more expensive than `pendingBytes`: only for a connection that has stalled. `done` is
   * not called once the connection is closed.
   */
  measureBacklog(done: (bytes: number) => void): void;
  /** Stops `onData` (one more call may come). A FIN or RST of the peer goes unnoticed while paused. */
  pause(): void;
  resume(): void;
  /** Sends what is queued, then FIN. Reading continues. */
  end(): void;
  /** Closes immediately and drops what is queued. `onClose` follows. */
  destroy(): void;
  /** As `destroy`, with RST, so that the peer sees that the data is incomplete. */
  reset(): void;
}

export interface ConnectionHandler {
  /** `bytes` are valid until the call returns: copy what is kept. */
  onData(bytes: Buffer): void;
  /** The peer sent FIN. */
  onEnd(): void;
  /** Everything was handed to the kernel. May be called when nothing was queued. */
  onDrain(): void;
  /** Called exactly once, last. `error`: why it was not a graceful close. */
  onClose(error: Error | undefined): void;
}

/** Of a connection in which nobody is interested any more. */
export const NO_HANDLER: ConnectionHandler = {
  onData() {},
  onEnd() {},
  onDrain() {},
  onClose() {},
};

/** Closes a connection that somebody else has handled. */
export function discard(connection: Connection): void {
  connection.handler = NO_HANDLER;
  connection.reset();
}

/** A connection attempt in progress. */
export interface Dial {
  /** After this neither `onOpen` nor `onFail` is called. */
  cancel(): void;
}

export interface DialOutcome {
  /** Must set the connection's handler before it returns. */
  onOpen(connection: Connection): void;
  onFail(error: Error): void;
}

export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface ListenOptions extends Address {
  /** Whether other processes of this balancer listen on the same port; each connection is for one of them. */
  readonly isShared?: boolean;
  /** Without it the port takes no PROXY protocol. */
  readonly proxyHeader?: ProxyHeaderOptions | undefined;
  /** Without it the port is plain TCP. */
  readonly tls?: TlsOptions;
  /** Must set the connection's handler before it returns. */
  readonly onConnection: (connection: Connection) => void;
  /**
   * Called at each accept, before TLS. After true, `onGone` is called exactly once, when that socket closes. After false,
   * the socket is closed; on a plain TCP port it is sent the response of `refusal` first.
   */
  readonly admit: () => boolean;
  readonly refusal: () => string;
  /** Whether a client at this address may connect; otherwise its socket is closed, before a TLS handshake. Undefined: any may. */
  readonly admitsFrom?: ((address: string) => boolean) | undefined;
  readonly onGone: () => void;
}

export interface ProxyHeaderOptions {
  /** Whether the peer at this address must send one. Of others none is read. */
  isFrom(address: string): boolean;
  /** From the accept to its end. */
  readonly timeoutMs: number;
  /** A connection is closed: the header of `address` was bad, for this reason. */
  readonly onRefused: (address: string, reason: string) => void;
  /** As `onConnection`, for a peer that must send one and begins with something else. */
  readonly onMissing: (connection: Connection) => void;
}

export interface TlsOptions {
  /** The first serves clients that send no server name or an unknown one. While there is none, handshakes fail. */
  readonly certificates: readonly TlsCertificate[];
  /**
   * For clients that speak only `acme-tls/1` (RFC 8737): a certificate authority that verifies a name. Their handshake gets this
   * certificate, and nothing follows it. Undefined: there are no such clients. `certificateOf` never rejects.
   */
  readonly challenge?: TlsChallenge | undefined;
  /** From the accept to the end of the handshake. */
  readonly handshakeTimeoutMs: number;
  /** Called for each failed handshake, for counters. */
  readonly onHandshakeFailed: () => void;
  /**
   * A client that begins with text instead of a handshake, such as plain HTTP; it can be sent a response that explains it.
   * Must set the connection's handler before it returns.
   */
  readonly onPlainConnection: (connection: Connection) => void;
}

export interface TlsChallenge {
  /** `name`: the server name that the client asks for. Undefined: the handshake fails. */
  certificateOf(name: string): Promise<{ readonly cert: string; readonly key: string } | undefined>;
}

export interface TlsCertificate {
  /** PEM, with the chain. */
  readonly cert: string;
  /** PEM. */
  readonly key: string;
  /** Whether the certificate covers this host name. Never throws. */
  isFor(name: string): boolean;
}

export interface Listening {
  readonly port: number;
  /** Used for new handshakes; open connections keep theirs. No effect on a port without TLS. Throws on invalid ones. */
  useCertificates(certificates: readonly TlsCertificate[]): void;
  /** Stops accepting. Open connections stay open. */
  close(): void;
}

export interface Transport {
  dial(address: Address, outcome: DialOutcome): Dial;
  /** Rejects with the system's error (`EADDRINUSE`, `EACCES`). */
  listen(options: ListenOptions): Promise<Listening>;
}

/** Bytes that may be queued in a connection before its writer must stop. */
export const MAX_PENDING_BYTES = 65_536;

/** Called with an exception thrown by a handler: a bug in the balancer. Its connection is closed, the process continues. */
export type BugReport = (error: unknown) => void;
