/**
 * The worker's `/socket.io/` endpoint: socket.io over an engine.io server made by hand, so that connection ids carry the
 * worker's tag and responses carry the session headers for the balancer.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { Server as EngineServer, type Socket as EngineSocket } from "engine.io";
import { type Socket, Server as SocketServer } from "socket.io";
import { type Clock, sleep } from "../../../shared/base/clock.ts";
import type { SessionId } from "../../../shared/base/ids.ts";
import { taggedId, type WorkerTag } from "../../../shared/base/worker-tag.ts";
import type { Log } from "../../../shared/logs/log.ts";
import type { Counters } from "../../../shared/metrics/metrics.ts";
import {
  EPOCH_HEADER,
  REQUEST_ID_HEADER,
  RESUMABLE_HEADER,
  SESSION_HEADER,
} from "../../../shared/net/edge-headers.ts";
import { RESUME_VERSION, type Resumable } from "../../../shared/resume/frames.ts";
import type { PurposeKeys } from "../../../shared/settings/keyring.ts";
import type { Slice } from "../../../shared/settings/read-settings.ts";
import type { Tokens } from "../../login/tokens.ts";
import type { Fence } from "../fence.ts";
import type { Connection, Peer } from "../peers/peer.ts";
import type { Registry } from "../registry.ts";
import { signResumeTicket } from "../resume-ticket.ts";
import type { Session } from "../session.ts";
import { createTokenReader, headerOf, routedSession, sidOf } from "./client-request.ts";
import {
  type AdmittedPeer,
  CONNECT_TIMEOUT_MS,
  type ConnectDeps,
  handleConnects,
} from "./connect.ts";
import { createEngineConnection, type EngineConnection } from "./engine-connection.ts";
import { takeWebSocket } from "./engine-internals.ts";
import { FanOut } from "./fan-out.ts";
import { InputLimit } from "./input-limit.ts";
import { PacketReader } from "./packet-reader.ts";
import { PollingConnection } from "./polling-connection.ts";
import { createResumes, type ResumeResult } from "./resumes.ts";
import {
  newStreamNumber,
  PING_INTERVAL_MS,
  PING_TIMEOUT_MS,
  StreamConnection,
  type StreamConnectionDeps,
} from "./stream-connection.ts";

export type Sockets = ReturnType<typeof attachSockets>;

export const SOCKET_SETTINGS = [
  "maxMessageBytes",
  "maxMessagesPerSecond",
  "maxAdmissionsPerSecond",
] as const;

export interface SocketsDeps {
  readonly registry: Registry;
  readonly tokens: Tokens;
  readonly counters: Counters;
  readonly log: Log;
  readonly clock: Clock;
  readonly fence: Pick<Fence, "look" | "hold">;
  readonly access: ConnectDeps["access"];
  readonly activity: ConnectDeps["activity"];
  readonly settings: Slice<typeof SOCKET_SETTINGS>;
  /** Authenticates the tickets with which WebSockets are resumed. */
  readonly resumeKeys: PurposeKeys;
  /** Starts every engine.io id. */
  readonly tag: WorkerTag;
}

/**
 * Grace period for migrated clients to close. Then their connection is closed here, which keeps unsent messages for the
 * next one; the balancer, which closes it after 3 s, would lose them.
 */
export const MIGRATE_GRACE_MS = 2500;
/** Time for closing handshakes before connections are destroyed. */
const CLOSE_MS = 500;

/** One engine.io connection, until its WebSocket is taken over. */
interface Entry {
  readonly limits: EngineConnection;
  readonly conn: EngineSocket;
  /** Once its peer is admitted. */
  connection?: Connection;
  /** To be migrated as soon as its peer is admitted. */
  mustMigrate?: true;
}

/** What engine.io calls its requests: an `IncomingMessage` with its own additions. */
type EngineRequest = Parameters<EngineServer["handleRequest"]>[0];

export function attachSockets(deps: SocketsDeps) {
  const { registry, counters, log, clock } = deps;
  const tokenReader = createTokenReader(deps.tokens);
  const ids = new WeakMap<IncomingMessage, string>();
  const entries = new Map<string, Entry>();
  /** Open WebSockets, with the requests that opened them. */
  const upgraded = new Map<Duplex, IncomingMessage>();

  /** Those that were taken over from engine.io or from other workers. */
  const streams = new Map<Duplex, StreamConnection>();
  let lastOrdinal = 0;
  const nextOrdinal = (): number => ++lastOrdinal;
  const fanOut = new FanOut(deps.fence);
  const engine = createEngine(deps, { ids, entries, nextOrdinal });
  engine.on("headers", addSessionHeaders);
  const io = new SocketServer({
    serveClient: false,
    cleanupEmptyChildNamespaces: true,
    connectTimeout: CONNECT_TIMEOUT_MS,
  });
  io.bind(engine);
  handleConnects(io, { ...deps, tokenReader, attach });
  const resumes = createResumes({
    ...deps,
    keys: deps.resumeKeys.accepted,
    maxMessageBytes: deps.settings.maxMessageBytes,
    attach({ webSocket, stream, session, peer, ticket, begun, state }) {
      const connection = openStream({
        webSocket,
        stream,
        begun,
        isResumed: true,
        namespace: ticket.namespace,
        ordinal: nextOrdinal(),
        input: new InputLimit({ ...deps, ...deps.settings }),
        reader: new PacketReader(ticket.namespace),
        ticketFor: ticketsFor(session, peer, ticket.namespace),
      });
      session.resume(peer, connection, state);
    },
  });

  /**
   * Passes a request to engine.io, which throws on some malformed URLs. A handshake waits until its token is verified, so
   * that the response can carry the session headers; the POST of a flooding client waits until it may send again.
   */
  function pass(req: IncomingMessage, action: () => void, onFailure: () => void): void {
    const sid = sidOf(req);
    let wait: Promise<unknown> | undefined;
    if (sid === undefined) wait = tokenReader.identify(req);
    else if (req.method === "POST") wait = entries.get(sid)?.limits.input.resumed();

    function run(): void {
      try {
        action();
      } catch (error) {
        counters.count("worker.connects_refused", "malformed");
        log.debug({ err: error }, "connection request refused");
        onFailure();
      }
    }
    if (wait === undefined) {
      run();
      return;
    }
    wait.then(run, (error: unknown) => {
      log.error({ err: error }, "connection request failed");
      onFailure();
    });
  }

  function addSessionHeaders(headers: Record<string, string>, req: IncomingMessage): void {
    const sid = sidOf(req);
    if (req.headers[RESUMABLE_HEADER] === String(RESUME_VERSION)) {
      headers[RESUMABLE_HEADER] = String(RESUME_VERSION);
    }
    if (sid !== undefined && req.headers.upgrade === undefined) return;
    // A browser's upgrade carries only the sid, so the token is that of its handshake.
    const handshake = sid === undefined ? req : entries.get(sid)?.conn.request;
    const token = handshake && tokenReader.identified(handshake);
    const sessionId = token?.sessionId ?? (handshake && routedSession(handshake));
    const session = sessionId && registry.live(sessionId);
    if (session === undefined) return;
    headers[SESSION_HEADER] = session.id;
    headers[EPOCH_HEADER] = String(session.epoch);
  }

  function attach(socket: Socket, admitted: AdmittedPeer): boolean {
    const entry = entries.get(ids.get(socket.request) ?? "");
    if (entry === undefined) return false;
    entry.limits.admit();
    if (takeOver(socket, entry, admitted, new PacketReader(socket.nsp.name))) return true;
    const connection = new PollingConnection(socket, entry.limits.ordinal, fanOut);
    const retry = (): void => {
      if (connection.isReplaced) return;
      const { isMigrating } = connection;
      connection.isReplaced = true;
      connection.isReplaced = takeOver(socket, entry, admitted, connection.reader);
      const stream = connection.isReplaced ? entry.connection : undefined;
      if (isMigrating && stream !== undefined) migrate(stream);
    };
    // Until what engine.io was given before has left, nothing is written behind its back.
    entry.conn.on("upgrade", retry);
    // Not in the middle of a message that is being written.
    entry.conn.on("drain", () => queueMicrotask(retry));
    admitted.session.attach(admitted.peer, connection);
    entry.connection = connection;
    if (entry.mustMigrate) migrate(connection);
    return true;
  }

  /** Takes an admitted peer's WebSocket over from engine.io; false: it has none now. */
  function takeOver(
    socket: Socket,
    entry: Entry,
    { session, peer }: AdmittedPeer,
    reader: PacketReader,
  ): boolean {
    const { limits, conn } = entry;
    const namespace = socket.nsp.name;
    const messages = limits.messages();
    const taken = takeWebSocket(conn);
    if (taken === undefined) return false;
    const begun = { stream: newStreamNumber(), messages, confirmed: 0, repeated: 0 };
    const isResumable =
      upgraded.get(taken.stream)?.headers[RESUMABLE_HEADER] === String(RESUME_VERSION);
    const connection = openStream({
      ...taken,
      namespace,
      begun,
      isResumed: false,
      ordinal: limits.ordinal,
      input: limits.input,
      reader,
      // An admission may take almost as long as the client waits for a ping.
      firstPingMs: Math.max(0, limits.openedMs + PING_INTERVAL_MS - clock.nowMs()),
      ticketFor: isResumable ? ticketsFor(session, peer, namespace) : undefined,
    });
    const previous = entry.connection;
    entry.connection = connection;
    if (previous === undefined) session.attach(peer, connection);
    else session.upgrade(peer, previous, connection);
    if (entry.mustMigrate) migrate(connection);
    return true;
  }

  function openStream(
    stream: Omit<StreamConnectionDeps, "fanOut" | "clock" | "counters">,
  ): StreamConnection {
    const connection = new StreamConnection({ ...stream, fanOut, clock, counters });
    streams.set(stream.stream, connection);
    stream.stream.once("close", () => streams.delete(stream.stream));
    return connection;
  }

  function ticketsFor(session: Session, peer: Peer, namespace: string) {
    const { id: peerId, record } = peer;
    const { tokenId } = record;
    return (stream: number): Resumable => {
      const { id, epoch } = session;
      const ticket = { sessionId: id, epoch, peerId, tokenId, namespace, stream };
      return { session: id, epoch, ticket: signResumeTicket(deps.resumeKeys.signing, ticket) };
    };
  }

  function keepTrack(req: IncomingMessage, socket: Duplex): void {
    // The connection learns of the error by the socket's end.
    socket.on("error", () => {});
    upgraded.set(socket, req);
    socket.once("close", () => upgraded.delete(socket));
  }

  function migrate(connection: Connection): void {
    connection.migrate();
    clock.after(MIGRATE_GRACE_MS, () => connection.close());
  }

  return {
    /**
     * The session that a handshake is for: of its valid room token, else the one by which it was routed, because a browser's
     * WebSocket sends its token later, with CONNECT. Undefined: the socket itself decides.
     */
    async sessionOf(req: IncomingMessage): Promise<SessionId | undefined> {
      const ofTicket = resumes.sessionOf(req);
      return ofTicket ?? (await tokenReader.identify(req))?.sessionId ?? routedSession(req);
    },
    /** Handles a request to `/socket.io/`. Headers already set on `res` (CORS) are sent with the response. */
    handleRequest(req: IncomingMessage, res: ServerResponse): void {
      const handle = (): unknown => engine.handleRequest(req as EngineRequest, res);
      pass(req, handle, () => refuse(res));
    },
    /** Handles an upgrade to `/socket.io/`. Adds the socket's error listener. */
    handleUpgrade(req: IncomingMessage, socket: Duplex, head: Buffer): void {
      keepTrack(req, socket);
      const handle = (): unknown => engine.handleUpgrade(req as EngineRequest, socket, head);
      pass(req, handle, () => socket.destroy());
    },
    /** Goes on with the WebSocket of another worker. Answers the upgrade only if that is done. */
    async handleResume(req: IncomingMessage, socket: Duplex, head: Buffer): Promise<ResumeResult> {
      keepTrack(req, socket);
      return resumes.handle(req, socket, head);
    },
    /** Migrates the clients whose WebSockets were opened by requests with these ids: a balancer in front shuts down. */
    letGo(requestIds: readonly string[]): void {
      const named = new Set(requestIds);
      for (const [socket, req] of upgraded) {
        const requestId = headerOf(req, REQUEST_ID_HEADER);
        if (requestId === undefined || !named.has(requestId)) continue;
        const stream = streams.get(socket);
        if (stream !== undefined) {
          migrate(stream);
          continue;
        }
        const entry = entries.get(sidOf(req) ?? ids.get(req) ?? "");
        if (entry === undefined) continue;
        entry.mustMigrate = true;
        if (entry.connection !== undefined) migrate(entry.connection);
      }
    },
    /** Open engine.io connections, admitted or not. */
    get connections(): number {
      return engine.clientsCount + streams.size;
    },
    /** Closes every connection so that clients reconnect; resolves within about a second. */
    async close(): Promise<void> {
      engine.close();
      resumes.close();
      for (const connection of streams.values()) connection.close();
      const untilMs = clock.nowMs() + CLOSE_MS;
      while (upgraded.size > 0 && clock.nowMs() < untilMs) await sleep(clock, 10);
      for (const socket of upgraded.keys()) socket.destroy();
    },
  };
}

function createEngine(
  { settings, tag, clock, counters }: SocketsDeps,
  {
    ids,
    entries,
    nextOrdinal,
  }: {
    /** Of each handshake's connection. */
    ids: WeakMap<IncomingMessage, string>;
    /** The open connections by id. */
    entries: Map<string, Entry>;
    nextOrdinal: () => number;
  },
): EngineServer {
  const engine = new EngineServer({
    maxHttpBufferSize: settings.maxMessageBytes,
    pingInterval: PING_INTERVAL_MS,
    pingTimeout: PING_TIMEOUT_MS,
    transports: ["polling", "websocket"],
    allowEIO3: false,
    perMessageDeflate: false,
    // Encrypted contents do not compress.
    httpCompression: false,
  });
  engine.generateId = (req: IncomingMessage) => {
    const id = taggedId(tag);
    ids.set(req, id);
    return id;
  };
  // Called before socket.io sees the connection, so that the rate limit counts each packet first.
  engine.on("connection", (conn: EngineSocket) => {
    const id = ids.get(conn.request) ?? "";
    const ordinal = nextOrdinal();
    const limits = createEngineConnection(conn, { ordinal, clock, counters, ...settings });
    entries.set(id, { limits, conn });
    conn.once("close", () => {
      limits.input.close();
      entries.delete(id);
    });
  });
  return engine;
}

function refuse(res: ServerResponse): void {
  if (!res.headersSent) res.writeHead(400);
  res.end();
}
