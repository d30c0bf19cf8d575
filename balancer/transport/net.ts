/**
 * The transport on `node:net` and `node:tls`: dials workers, accepts clients. Public API only, but for accepted-reads.ts.
 */
import { createConnection, createServer, type Server, type Socket } from "node:net";
import { plainAddress } from "../../shared/net/networks.ts";
import type { DirectReads } from "./accepted-reads.ts";
import { awaitProxyHeader, type Origin } from "./await-proxy-header.ts";
import { KEEP_ALIVE_MS, NetConnection, type Sockets } from "./net-connection.ts";
import { SocketReads } from "./read-buffers.ts";
import { createTlsListener } from "./tls-listener.ts";
import type {
  Address,
  BugReport,
  Dial,
  DialOutcome,
  Listening,
  ListenOptions,
  Transport,
} from "./transport.ts";

/**
 * Connections that the kernel queues before they are accepted: when a worker has died, its clients reconnect within a
 * second, with several connections each. A dropped one is retried only after 1 s. Linux caps it at net.core.somaxconn.
 */
const BACKLOG = 16_384;

/**
 * In a process that `node:cluster` started. With SO_REUSEPORT (Node 22.12 and later, Linux) the kernel spreads connections
 * evenly over the processes; a Node that does not know the option shares the primary's handle, from which idle processes
 * accept more than others: docs/adr/0023-several-processes.md.
 */
const SHARED = { exclusive: false, reusePort: process.platform === "linux" };
const EXCLUSIVE = { exclusive: true };

/** Refused sockets that are sent a response at one time; further ones are just closed. Each costs a descriptor. */
const MAX_REFUSALS = 16;
/** Time for a refused client to read its response. */
const REFUSAL_MS = 1000;

export function createNetTransport(deps: {
  readonly reportBug: BugReport;
  /** How accepted sockets are read; without it by their `data` events. */
  readonly directReads?: DirectReads | undefined;
}): Transport {
  return {
    dial: (address, outcome) => new Dialing(address, outcome, deps.reportBug),
    listen: (options) => listen(options, deps.reportBug, deps.directReads),
  };
}

// --- to a worker ---

/** An attempt to connect. Once it is over only the socket's reads go through it: tunnels last for days. */
class Dialing implements Dial {
  readonly #reportBug: BugReport;
  readonly #reads = new SocketReads();
  readonly #socket: Socket;
  /** Undefined when the attempt is over. */
  #outcome: DialOutcome | undefined;
  #connection: NetConnection | undefined;

  constructor(address: Address, outcome: DialOutcome, reportBug: BugReport) {
    this.#outcome = outcome;
    this.#reportBug = reportBug;
    this.#socket = createConnection({
      host: address.host,
      port: address.port,
      allowHalfOpen: true,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
      onread: {
        buffer: () => this.#reads.buffer,
        callback: (length) => {
          this.#connection?.onRead(length);
          return true;
        },
      },
    });
    const onError = (error: Error): void => this.#takeOutcome()?.onFail(error);
    this.#socket.on("error", onError).once("connect", () => {
      this.#onConnect();
      this.#socket.off("error", onError);
    });
  }

  #onConnect(): void {
    const outcome = this.#takeOutcome();
    if (outcome === undefined) return;
    const socket = this.#socket;
    const sockets: Sockets = { socket, tcp: socket, reads: this.#reads, options: "set" };
    this.#connection = new NetConnection(sockets, this.#reportBug);
    // The stream buffers nothing, but it must flow to report the end.
    socket.resume();
    try {
      outcome.onOpen(this.#connection);
    } catch (error) {
      this.#reportBug(error);
      socket.destroy();
    }
  }

  #takeOutcome(): DialOutcome | undefined {
    const outcome = this.#outcome;
    this.#outcome = undefined;
    return outcome;
  }

  cancel(): void {
    if (this.#takeOutcome() !== undefined) this.#socket.destroy();
  }
}

// --- from clients ---

async function listen(
  options: ListenOptions,
  reportBug: BugReport,
  directReads: DirectReads | undefined,
): Promise<Listening> {
  const serve = (sockets: Sockets, onConnection: ListenOptions["onConnection"]) => {
    const connection = new NetConnection(sockets, reportBug);
    onConnection(connection);
    return connection;
  };
  const { proxyHeader } = options;
  const handlerFor = (origin: Origin | undefined): ListenOptions["onConnection"] =>
    origin?.isMissing === true && proxyHeader !== undefined
      ? proxyHeader.onMissing
      : options.onConnection;
  const serveByData = (
    sockets: Pick<Sockets, "socket" | "tcp" | "origin">,
    onConnection: ListenOptions["onConnection"],
  ) => {
    const connection = serve({ ...sockets, options: "set" }, onConnection);
    sockets.socket.on("data", (bytes: Buffer) => connection.receive(bytes));
  };
  const servePlain = (socket: Socket) => {
    const connection = serve({ socket, tcp: socket, options: "first write" }, options.onConnection);
    if (directReads === undefined) {
      socket.on("data", (bytes: Buffer) => connection.receive(bytes));
      return;
    }
    // `onConnection` may have closed it.
    if (socket.destroyed) return;
    directReads(socket, connection);
    // The stream buffers nothing, but it must flow to report the end.
    socket.resume();
  };
  /** Calls `done` in the same turn, with undefined, when the peer is the client. Not when it may not connect. */
  const originOf = (socket: Socket, done: (origin: Origin | undefined) => void): void => {
    const { admitsFrom } = options;
    // Asking for the address is a system call.
    if (proxyHeader === undefined && admitsFrom === undefined) {
      done(undefined);
      return;
    }
    const peer = plainAddress(socket.remoteAddress);
    const onOrigin = (origin: Origin | undefined): void => {
      if (admitsFrom === undefined || admitsFrom(origin?.address ?? peer)) done(origin);
      else socket.destroy();
    };
    if (proxyHeader?.isFrom(peer) !== true) {
      onOrigin(undefined);
      return;
    }
    socket.on("error", ignore);
    awaitProxyHeader(socket, proxyHeader.timeoutMs, {
      onOrigin,
      onRefused: (reason) => proxyHeader.onRefused(peer, reason),
    });
  };
  const tlsOptions = options.tls;
  const tls =
    tlsOptions &&
    createTlsListener(tlsOptions, {
      admit: (socket) => admit(socket, options),
      originOf,
      serveTls: (socket, tcp, origin) => serveByData({ socket, tcp, origin }, handlerFor(origin)),
      servePlain: (socket, origin) =>
        serveByData({ socket, tcp: socket, origin }, tlsOptions.onPlainConnection),
    });
  const server =
    tls?.server ??
    createServer({ allowHalfOpen: true }, (socket) => {
      if (!admit(socket, options)) {
        refuse(socket, options.refusal());
        return;
      }
      originOf(socket, (origin) => {
        if (origin === undefined) {
          servePlain(socket);
          return;
        }
        serveByData({ socket, tcp: socket, origin }, handlerFor(origin));
        // The "readable" listener has stopped the flow.
        socket.resume();
      });
    });
  await bound(server, options);
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : options.port,
    useCertificates: (certificates) => tls?.useCertificates(certificates),
    close: () => {
      tls?.close();
      server.close();
    },
  };
}

/** Applies the caller's limit to a new socket, before it costs anything. */
function admit(socket: Socket, options: ListenOptions): boolean {
  if (!options.admit()) return false;
  socket.on("close", options.onGone);
  return true;
}

let refusals = 0;

/**
 * Sends a refusal. The client's bytes are read and dropped: with unread bytes the close is a RST, which discards the
 * response.
 */
function refuse(socket: Socket, response: string): void {
  socket.on("error", ignore);
  if (refusals >= MAX_REFUSALS) {
    socket.destroy();
    return;
  }
  refusals++;
  const timeout = setTimeout(() => socket.destroy(), REFUSAL_MS);
  socket.once("close", () => {
    refusals--;
    clearTimeout(timeout);
  });
  socket.once("end", () => socket.destroy());
  socket.resume();
  socket.end(response, "latin1");
}

function bound(server: Server, { host, port, isShared = false }: ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    const at = { host, port, backlog: BACKLOG };
    server.listen({ ...at, ...(isShared ? SHARED : EXCLUSIVE) }, () => {
      server.off("error", reject);
      // A failed accept (no descriptors left) concerns one connection, not the port.
      server.on("error", ignore);
      resolve();
    });
  });
}

function ignore(): void {}
