/**
 * The HTTPS port: each accepted socket is handed to TLS when it begins with a handshake, and to the plain handler when it
 * begins with text, so that the client gets a response it can read. Certificates are chosen by name and exchanged in use. A
 * certificate authority that verifies a name is told apart by the protocol that it offers.
 */
import { constants, randomBytes } from "node:crypto";
import { createServer, type Server, type Socket } from "node:net";
import {
  createSecureContext,
  createServer as createTlsServer,
  type SecureContext,
  type SecureContextOptions,
  type Server as TlsServer,
} from "node:tls";
import type { Origin } from "./await-proxy-header.ts";
import { readClientHello } from "./client-hello.ts";
import { KEEP_ALIVE_MS } from "./net-connection.ts";
import type { TlsCertificate, TlsChallenge, TlsOptions } from "./transport.ts";

/**
 * How long a session ticket key is used. An attacker that obtains one can decrypt the TLS 1.2 connections resumed in that
 * time; a ticket of the previous key costs its client one full handshake.
 */
const TICKET_KEY_MS = 12 * 3600 * 1000;
/** What `setTicketKeys` takes. */
const TICKET_KEY_BYTES = 48;

export interface TlsListener {
  /** Not listening yet. */
  readonly server: Server;
  /** For handshakes from now on. Throws on bad ones, and then keeps the old ones. */
  useCertificates(certificates: readonly TlsCertificate[]): void;
  /** Ends the rotation of ticket keys; the server is closed by its owner. */
  close(): void;
}

/** What is done with the accepted sockets. */
export interface TlsListenerDeps {
  /** False: the socket is closed. */
  admit(socket: Socket): boolean;
  /** Finds out who the client is, before its first byte; undefined: the peer. Never called back: the socket is destroyed. */
  originOf(socket: Socket, done: (origin: Origin | undefined) => void): void;
  /** After the handshake; `tcp` is the socket below `socket`. */
  serveTls(socket: Socket, tcp: Socket, origin: Origin | undefined): void;
  servePlain(socket: Socket, origin: Origin | undefined): void;
}

/** A client of the HTTPS port until its socket closes. */
interface PendingHandshake {
  readonly tcp: Socket;
  origin: Origin | undefined;
  /** Runs until the handshake is over. */
  readonly timeout: NodeJS.Timeout;
}

export function createTlsListener(options: TlsOptions, deps: TlsListenerDeps): TlsListener {
  let contexts = contextsOf(options.certificates);
  // By peer, because a TLS socket does not expose the TCP socket below it.
  const pending = new Map<string, PendingHandshake>();
  const secure = createTlsServer(
    {
      ...secureOptions(options.certificates[0]),
      // Called only when the client sends a server name. An exception here would end the process (CVE-2026-21637).
      SNICallback: (name, done) => done(null, pickContext(contexts, name)),
      ALPNProtocols: ["http/1.1"],
      // The timeout below ends a handshake: it counts from the accept.
      handshakeTimeout: options.handshakeTimeoutMs + 1000,
    },
    (socket) => {
      const handshake = pending.get(peerOf(socket));
      // Closed between its handshake and now.
      if (handshake === undefined) socket.destroy();
      else {
        clearTimeout(handshake.timeout);
        deps.serveTls(socket, handshake.tcp, handshake.origin);
      }
    },
  );
  secure.on("tlsClientError", (_error, socket) => {
    options.onHandshakeFailed();
    socket.destroy();
  });
  // A TLS server of its own would hand each socket to TLS at once, and bytes that are no handshake would be lost.
  // The options are set at once: a handshake is several writes, and costs far more than they do.
  const socketOptions = { noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS };
  const server = createServer({ allowHalfOpen: true, ...socketOptions }, (socket) => {
    socket.on("error", ignore);
    if (!deps.admit(socket)) {
      socket.destroy();
      return;
    }
    const peer = peerOf(socket);
    const handshake: PendingHandshake = {
      tcp: socket,
      origin: undefined,
      timeout: setTimeout(() => socket.destroy(), options.handshakeTimeoutMs),
    };
    pending.set(peer, handshake);
    socket.once("close", () => {
      clearTimeout(handshake.timeout);
      // A client that was reset may have reconnected from the same port before this event.
      if (pending.get(peer) === handshake) pending.delete(peer);
    });
    deps.originOf(socket, (origin) => {
      handshake.origin = origin;
      begin(handshake);
    });
  });

  const challenges = options.challenge && createChallengeServer(options, options.challenge);

  function begin({ tcp: socket, timeout, origin }: PendingHandshake): void {
    peek(socket, {
      onBytes(bytes) {
        const [first = 0] = bytes;
        if (first === TLS_HANDSHAKE) {
          // Only where there may be challenges, because a hello may come in several pieces.
          const hello = challenges && readClientHello(bytes);
          if (hello?.state === "incomplete") return "more";
          return () => {
            const isChallenge = hello?.state === "hello" && isOnlyAcme(hello.protocols);
            (isChallenge ? challenges : secure)?.emit("connection", socket);
          };
        }
        if (isText(first)) {
          return () => {
            clearTimeout(timeout);
            deps.servePlain(socket, origin);
            // The "readable" listener has stopped the flow.
            socket.resume();
          };
        }
        return () => {
          options.onHandshakeFailed();
          socket.destroy();
        };
      },
      onNothing: options.onHandshakeFailed,
    });
  }

  const rotation = setInterval(() => {
    secure.setTicketKeys(randomBytes(TICKET_KEY_BYTES));
  }, TICKET_KEY_MS).unref();
  return {
    server,
    useCertificates(certificates) {
      const fresh = contextsOf(certificates);
      secure.setSecureContext(secureOptions(certificates[0]));
      contexts = fresh;
    },
    close: () => clearInterval(rotation),
  };
}

function ignore(): void {}

/** The remote address and port: unique among the connections of one of our ports. */
function peerOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`;
}

// --- the first bytes ---

/** The type of the record with which every TLS client begins (RFC 8446 §5.1). */
const TLS_HANDSHAKE = 0x16;

/** Whether a first byte begins a line of text, or an empty one: HTTP, or a PROXY protocol header. */
function isText(byte: number): boolean {
  return byte === 0x0d || (byte >= 0x21 && byte <= 0x7e);
}

interface Peek {
  /** Called with all bytes so far, at least one. Returns what is done with the socket, which still has them unread. */
  readonly onBytes: (bytes: Buffer) => "more" | (() => void);
  /** The connection closed before that. */
  readonly onNothing: () => void;
}

/** Looks at the first bytes of a connection and leaves them unread. */
function peek(socket: Socket, { onBytes, onNothing }: Peek): void {
  let seen: Buffer | undefined;
  const stop = (): void => {
    socket.off("readable", onReadable).off("end", onEnd).off("close", onClose);
  };
  const onReadable = (): void => {
    const bytes: Buffer | null = socket.read();
    if (bytes === null || bytes.length === 0) return;
    seen = seen === undefined ? bytes : Buffer.concat([seen, bytes]);
    const next = onBytes(seen);
    if (next === "more") return;
    stop();
    socket.unshift(seen);
    next();
  };
  const onEnd = (): void => {
    socket.destroy();
  };
  const onClose = (): void => {
    stop();
    onNothing();
  };
  socket.on("readable", onReadable).on("end", onEnd).on("close", onClose);
}

// --- challenges ---

const ACME_PROTOCOL = "acme-tls/1";

/** RFC 8737 §3: such a client offers nothing else. */
function isOnlyAcme(protocols: readonly string[]): boolean {
  return protocols.length === 1 && protocols[0] === ACME_PROTOCOL;
}

/** For one handshake with a certificate authority; the connection ends with it. */
function createChallengeServer(options: TlsOptions, challenge: TlsChallenge): TlsServer {
  const server = createTlsServer(
    {
      minVersion: "TLSv1.2",
      ALPNProtocols: [ACME_PROTOCOL],
      handshakeTimeout: options.handshakeTimeoutMs + 1000,
      SNICallback(name, done) {
        challenge.certificateOf(name).then(
          (found) => done(null, contextOf(found)),
          () => done(null),
        );
      },
    },
    (socket) => {
      socket.on("error", ignore).end();
    },
  );
  return server.on("tlsClientError", (_error, socket) => {
    options.onHandshakeFailed();
    socket.destroy();
  });
}

/** Undefined for a certificate that cannot be used: an exception in `SNICallback` would end the process. */
function contextOf(
  found: { readonly cert: string; readonly key: string } | undefined,
): SecureContext | undefined {
  try {
    return found && createSecureContext({ ...found, minVersion: "TLSv1.2" });
  } catch {
    return undefined;
  }
}

// --- certificates ---

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

/** Undefined selects the server's own context, which is that of the first certificate. */
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
