/**
 * The contract between the data path and the sockets under it: a connection is bytes in, bytes out, backpressure, an
 * ordered end and an abrupt one. One file per implementation stands beside this one; the data path knows none of them.
 */

/** What is sent: bytes, or latin1 text (heads are kept as text until the last moment). */
export type Piece = Buffer | string;

export interface Connection {
  /** The other side's address, without port; IPv4 addresses are never written as IPv6. */
  readonly remoteAddress: string;
  /** Whether it is TLS. */
  readonly secure: boolean;
  /** Who is told what happens. May be exchanged at any time; the next event goes to the new one. */
  handler: ConnectionHandler;
  /**
   * Sends the pieces in order, in as few system calls as possible. Pieces that came from `onData` may be given: the
   * transport sees to it that they stay intact. False: more than `MAX_PENDING_BYTES` wait, stop until `onDrain`. What is
   * written after an end is dropped.
   */
  write(pieces: readonly Piece[]): boolean;
  /** What was written and not yet handed to the system. */
  readonly pendingBytes: number;
  /**
   * Calls `done` with the bytes that the other side has not taken yet: those that wait here, and those that the system
   * holds for it, as far as it tells. Costs much more than `pendingBytes`: for who has waited for long. `done` is not called
   * any more when the connection is closed.
   */
  measureBacklog(done: (bytes: number) => void): void;
  /** Stops `onData` (one more call may come). Neither an end nor a reset of the other side is noticed meanwhile. */
  pause(): void;
  resume(): void;
  /** Sends what waits, then FIN. Reading goes on. */
  end(): void;
  /** Closes at once; what waits is dropped. `onClose` follows. */
  destroy(): void;
  /** As `destroy`, and tells the other side by RST that something was cut. */
  reset(): void;
}

export interface ConnectionHandler {
  /** `bytes` are valid until the call returns: who keeps them copies them. */
  onData(bytes: Buffer): void;
  /** The other side sent FIN. */
  onEnd(): void;
  /** Everything was handed to the system. May come without need. */
  onDrain(): void;
  /** Exactly once, and the last call. `error` when it did not end in order. */
  onClose(error: Error | undefined): void;
}

/** A connection that is being made. */
export interface Dial {
  /** Neither `onOpen` nor `onFail` is called any more. */
  cancel(): void;
}

export interface DialOutcome {
  /** The connection's handler must be set before the call returns. */
  onOpen(connection: Connection): void;
  onFail(error: Error): void;
}

export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface ListenOptions extends Address {
  /** Without it the port speaks plain TCP. */
  readonly tls?: TlsOptions;
  /** The connection's handler must be set before the call returns. */
  readonly onConnection: (connection: Connection) => void;
  /**
   * Asked at each accept, before any TLS. A true is followed by exactly one call of `onGone`, when that socket is gone; after
   * a false the socket is sent what `refusal` says, where it is no TLS, and closed.
   */
  readonly admit: () => boolean;
  readonly refusal: () => string;
  readonly onGone: () => void;
}

export interface TlsOptions {
  /** At least one. The first is for clients that ask for no name or an unknown one. */
  readonly certificates: readonly TlsCertificate[];
  /** From the accept to the end of the handshake. */
  readonly handshakeTimeoutMs: number;
  /** Handshakes that failed, for counters. */
  readonly onHandshakeFailed: () => void;
  /**
   * A client that begins with text instead of a handshake: it speaks another protocol, and can be told so. The
   * connection's handler must be set before the call returns.
   */
  readonly onPlainConnection: (connection: Connection) => void;
}

export interface TlsCertificate {
  /** PEM, with the chain. */
  readonly cert: string;
  /** PEM. */
  readonly key: string;
  /** Whether it is for this host name. Never throws. */
  isFor(name: string): boolean;
}

export interface Listening {
  readonly port: number;
  /** For handshakes from now on; open connections stay as they are. Not for a port without TLS. Throws on bad ones. */
  useCertificates(certificates: readonly TlsCertificate[]): void;
  /** Stops accepting. Open connections stay. */
  close(): void;
}

export interface Transport {
  dial(address: Address, outcome: DialOutcome): Dial;
  /** Rejects with the system's error (`EADDRINUSE`, `EACCES`). */
  listen(options: ListenOptions): Promise<Listening>;
}

/** Bytes that may wait in a connection before its writer must stop. */
export const MAX_PENDING_BYTES = 65_536;

/** Told of an exception in a handler: a bug of ours. The connection it happened on is closed, the process goes on. */
export type BugReport = (error: unknown) => void;
