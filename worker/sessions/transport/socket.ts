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
  SESSION_HEADER,
} from "../../../shared/net/edge-headers.ts";
import type { Settings } from "../../../shared/settings/read-settings.ts";
import type { Tokens } from "../../login/tokens.ts";
import type { Fence } from "../fence.ts";
import type { Connection } from "../peers/peer.ts";
import type { Registry } from "../registry.ts";
import { createTokenReader, headerOf, routedSession, sidOf } from "./client-request.ts";
import { type AdmittedPeer, CONNECT_TIMEOUT_MS, handleConnects } from "./connect.ts";
import { SocketConnection } from "./connection.ts";
import { createEngineConnection, type EngineConnection } from "./engine-connection.ts";
import { FanOut } from "./fan-out.ts";

export interface Sockets {
  /**
   * The session that a handshake is for: of its valid room token, else the one by which it was routed, because a browser's
   * WebSocket sends its token later, with CONNECT. Undefined: the socket itself decides.
   */
  sessionOf(req: IncomingMessage): Promise<SessionId | undefined>;
  /** Handles a request to `/socket.io/`. Headers already set on `res` (CORS) are sent with the response. */
  handleRequest(req: IncomingMessage, res: ServerResponse): void;
  /** Handles an upgrade to `/socket.io/`. Adds the socket's error listener. */
  handleUpgrade(req: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** Migrates the clients whose WebSockets were opened by requests with these ids: a balancer in front shuts down. */
  letGo(requestIds: readonly string[]): void;
  /** Open engine.io connections, admitted or not. */
  readonly connections: number;
  /** Closes every connection so that clients reconnect; resolves within about a second. */
  close(): Promise<void>;
}

export interface SocketsDeps {
  readonly registry: Registry;
  readonly tokens: Tokens;
  readonly counters: Counters;
  readonly log: Log;
  readonly clock: Clock;
  readonly fence: Pick<Fence, "look" | "hold">;
  readonly settings: Pick<
    Settings,
    "maxMessageBytes" | "maxMessagesPerSecond" | "maxAdmissionsPerSecond"
  >;
  /** Starts every engine.io id. */
  readonly tag: WorkerTag;
}

/** Clients rely on these values for their heartbeat; as in the reference server. */
const PING_INTERVAL_MS = 25_000;
const PING_TIMEOUT_MS = 20_000;
/**
 * Grace period for migrated clients to close. Then their connection is closed here, which keeps unsent messages for the
 * next one; the balancer, which closes it after 3 s, would lose them.
 */
export const MIGRATE_GRACE_MS = 2500;
/** Time for closing handshakes before connections are destroyed. */
const CLOSE_MS = 500;

/** One engine.io connection. */
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

export function attachSockets(deps: SocketsDeps): Sockets {
  const { registry, counters, log, clock } = deps;
  const tokenReader = createTokenReader(deps.tokens);
  const ids = new WeakMap<IncomingMessage, string>();
  const entries = new Map<string, Entry>();
  /** Open WebSockets, with the requests that opened them. */
  const upgraded = new Map<Duplex, IncomingMessage>();

  const fanOut = new FanOut(deps.fence);
  const engine = createEngine(deps, ids, entries);
  engine.on("headers", addSessionHeaders);
  const io = new SocketServer({
    serveClient: false,
    cleanupEmptyChildNamespaces: true,
    connectTimeout: CONNECT_TIMEOUT_MS,
  });
  io.bind(engine);
  handleConnects(io, { ...deps, identifyClient: tokenReader.identifyClient, attach });

  /**
   * Passes a request to engine.io, which throws on some malformed URLs. A handshake waits until its token is verified, so
   * that the response can carry the session headers; the POST of a flooding client waits until it may send again.
   */
  function pass(req: IncomingMessage, action: () => void, onFailure: () => void): void {
    const sid = sidOf(req);
    let wait: Promise<unknown> | undefined;
    if (sid === undefined) wait = tokenReader.identify(req);
    else if (req.method === "POST") wait = entries.get(sid)?.limits.resumed();

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

  function attach(socket: Socket, { session, peer }: AdmittedPeer): boolean {
    const entry = entries.get(ids.get(socket.request) ?? "");
    if (entry === undefined) return false;
    entry.limits.admit();
    const connection = new SocketConnection(socket, entry.limits.ordinal, fanOut);
    session.attach(peer, connection);
    entry.connection = connection;
    if (entry.mustMigrate) migrate(connection);
    return true;
  }

  function migrate(connection: Connection): void {
    connection.migrate();
    clock.after(MIGRATE_GRACE_MS, () => connection.close());
  }

  return {
    async sessionOf(req) {
      return (await tokenReader.identify(req))?.sessionId ?? routedSession(req);
    },
    handleRequest(req, res) {
      const handle = (): unknown => engine.handleRequest(req as EngineRequest, res);
      pass(req, handle, () => refuse(res));
    },
    handleUpgrade(req, socket, head) {
      // engine.io learns of the error by the connection's end.
      socket.on("error", () => {});
      upgraded.set(socket, req);
      socket.once("close", () => upgraded.delete(socket));
      const handle = (): unknown => engine.handleUpgrade(req as EngineRequest, socket, head);
      pass(req, handle, () => socket.destroy());
    },
    letGo(requestIds) {
      const named = new Set(requestIds);
      for (const req of upgraded.values()) {
        const requestId = headerOf(req, REQUEST_ID_HEADER);
        if (requestId === undefined || !named.has(requestId)) continue;
        const entry = entries.get(sidOf(req) ?? ids.get(req) ?? "");
        if (entry === undefined) continue;
        entry.mustMigrate = true;
        if (entry.connection !== undefined) migrate(entry.connection);
      }
    },
    get connections() {
      return engine.clientsCount;
    },
    async close() {
      engine.close();
      const untilMs = clock.nowMs() + CLOSE_MS;
      while (upgraded.size > 0 && clock.nowMs() < untilMs) await sleep(clock, 10);
      for (const socket of upgraded.keys()) socket.destroy();
    },
  };
}

/** `ids`: of each handshake's connection. `entries`: the open connections by id. */
function createEngine(
  { settings, tag, clock, counters }: SocketsDeps,
  ids: WeakMap<IncomingMessage, string>,
  entries: Map<string, Entry>,
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
  let lastOrdinal = 0;
  // Called before socket.io sees the connection, so that the rate limit counts each packet first.
  engine.on("connection", (conn: EngineSocket) => {
    const id = ids.get(conn.request) ?? "";
    const ordinal = ++lastOrdinal;
    const limits = createEngineConnection(conn, { ordinal, clock, counters, ...settings });
    entries.set(id, { limits, conn });
    conn.once("close", () => entries.delete(id));
  });
  return engine;
}

function refuse(res: ServerResponse): void {
  if (!res.headersSent) res.writeHead(400);
  res.end();
}
