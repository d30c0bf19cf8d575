/**
 * Where peers' connections come in: socket.io over an engine.io server made by hand, so that ids carry the worker's tag
 * and answers the marks for the balancer.
 */
import { createPublicKey } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { Server as EngineServer, type Socket as EngineSocket } from "engine.io";
import { type Socket, Server as SocketServer } from "socket.io";
import { type Clock, sleep } from "../../../shared/base/clock.ts";
import { taggedId, type WorkerTag } from "../../../shared/base/tag.ts";
import type { Log } from "../../../shared/logs/log.ts";
import { PARK_MS } from "../../../shared/membership/claim.ts";
import type { Counters } from "../../../shared/metrics/metrics.ts";
import {
  EPOCH_HEADER,
  REQUEST_ID_HEADER,
  SESSION_HEADER,
} from "../../../shared/net/edge-headers.ts";
import type { Settings } from "../../../shared/settings/read-settings.ts";
import type { RoomToken, Tokens } from "../../login/tokens.ts";
import type { Fence } from "../fence.ts";
import type { Connection, Peer } from "../peer.ts";
import type { Registry } from "../registry.ts";
import type { Introduction, Session } from "../session.ts";
import { createAdmissionLimiter, MAX_WAIT_MS } from "./admission-limiter.ts";
import { closeConnection, createConnection } from "./connection.ts";
import { createEngineConnection, type EngineConnection } from "./engine-connection.ts";

export interface Sockets {
  /**
   * The room token that a request to `/socket.io/` carries (header `x-oct-jwt`, else cookie `oct-jwt`), when it is a good
   * one. Checked once per request object; later calls get the same answer.
   */
  identify(req: IncomingMessage): Promise<RoomToken | undefined>;
  /** Takes a request whose path is `/socket.io/`. Head fields set on `res` before (CORS) are sent with the answer. */
  handleRequest(req: IncomingMessage, res: ServerResponse): void;
  /** Takes an upgrade whose path is `/socket.io/`. Adds the error listener itself. */
  handleUpgrade(req: IncomingMessage, socket: Duplex, head: Buffer): void;
  /**
   * Asks the clients whose WebSockets were opened by requests with these ids to come back by another way, because somebody in
   * front goes.
   */
  letGo(requestIds: readonly string[]): void;
  /** Open engine.io connections, admitted or not. */
  readonly connections: number;
  /** Closes every connection in a way that makes clients come back; resolves within about a second. */
  close(): Promise<void>;
}

export interface SocketsNeeds {
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

/** As in the reference server; the contract of the clients' heartbeat. */
const PING_INTERVAL_MS = 25_000;
const PING_TIMEOUT_MS = 20_000;
/** After the longest time that a CONNECT waits in line and is parked. */
const CONNECT_TIMEOUT_MS = PARK_MS + MAX_WAIT_MS + 5000;
/** Base path of a client's URL, as a namespace. */
const ANY_NAMESPACE = /^\/.{1,2048}$/s;
/**
 * Who was let go of has so long to part; then it is cut off, which gives what was not sent to its next connection. Before
 * the end that the balancer makes after 3 s, which would not.
 */
export const MIGRATE_GRACE_MS = 2500;
/** Time for closing handshakes before connections are cut. */
const CLOSE_MS = 500;

/** A connection of engine.io. */
interface Entry {
  readonly line: EngineConnection;
  readonly conn: EngineSocket;
  /** Once its peer is let in. */
  connection?: Connection;
  /** Whether it is to be asked to come back by another way, as soon as its peer is in. */
  isLetGo?: true;
}

/** What a CONNECT came to. */
type Verdict =
  | { readonly verdict: "admitted"; readonly session: Session; readonly peer: Peer }
  | { readonly verdict: "refused"; readonly reason: string }
  /** The client shall come back: the session is another worker's, or the store could not say. */
  | { readonly verdict: "later"; readonly reason: string };

export function attachSockets(needs: SocketsNeeds): Sockets {
  const { registry, counters, log, clock, settings } = needs;
  const identities = new WeakMap<IncomingMessage, Promise<RoomToken | undefined>>();
  /** Those that were found already, for the marks, which are made without waiting. */
  const known = new WeakMap<IncomingMessage, RoomToken>();
  const ids = new WeakMap<IncomingMessage, string>();
  const lines = new Map<string, Entry>();
  const verdicts = new WeakMap<Socket, Verdict>();
  const taken = new WeakSet<EngineSocket>();
  /** Open WebSockets, with the requests that opened them. */
  const upgraded = new Map<Duplex, IncomingMessage>();
  const admissionLimiter = createAdmissionLimiter({
    clock,
    perSecond: settings.maxAdmissionsPerSecond,
  });
  let ordinal = 0;

  const engine = new EngineServer({
    maxHttpBufferSize: settings.maxMessageBytes,
    pingInterval: PING_INTERVAL_MS,
    pingTimeout: PING_TIMEOUT_MS,
    transports: ["polling", "websocket"],
    allowEIO3: false,
    perMessageDeflate: false,
    // Contents are encrypted: they do not get smaller.
    httpCompression: false,
  });
  engine.generateId = (req: IncomingMessage) => {
    const id = taggedId(needs.tag);
    ids.set(req, id);
    return id;
  };
  // Before socket.io gets to know the connection, so that the line sees each packet first.
  engine.on("connection", (conn: EngineSocket) => {
    const id = ids.get(conn.request) ?? "";
    const line = createEngineConnection(conn, { ordinal: ++ordinal, clock, counters, ...settings });
    lines.set(id, { line, conn });
    conn.once("close", () => lines.delete(id));
  });
  engine.on("headers", mark);

  const io = new SocketServer({
    serveClient: false,
    cleanupEmptyChildNamespaces: true,
    connectTimeout: CONNECT_TIMEOUT_MS,
  });
  io.bind(engine);
  for (const namespace of [io.of("/"), io.of(ANY_NAMESPACE)]) {
    namespace.use(park);
    namespace.on("connection", welcome);
  }

  // --- who it is ---

  function identify(req: IncomingMessage): Promise<RoomToken | undefined> {
    let identity = identities.get(req);
    if (identity === undefined) {
      identity = verify(req);
      identities.set(req, identity);
    }
    return identity;
  }

  async function verify(req: IncomingMessage): Promise<RoomToken | undefined> {
    const text = fieldOf(req, "x-oct-jwt") ?? cookieOf(req, "oct-jwt");
    const token = text === undefined ? undefined : await needs.tokens.verifyRoom(text);
    if (token !== undefined) known.set(req, token);
    return token;
  }

  // --- requests ---

  function handleRequest(req: IncomingMessage, res: ServerResponse): void {
    const wait = waitFor(req);
    if (wait === undefined) {
      pass(
        () => engine.handleRequest(req as EngineRequest, res),
        () => refuse(res),
      );
      return;
    }
    wait.then(
      () =>
        pass(
          () => engine.handleRequest(req as EngineRequest, res),
          () => refuse(res),
        ),
      (error: unknown) => {
        log.error({ err: error }, "connection request failed");
        refuse(res);
      },
    );
  }

  function handleUpgrade(req: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on("error", () => {
      // The engine hears of it by the connection's end.
    });
    upgraded.set(socket, req);
    socket.once("close", () => upgraded.delete(socket));
    const go = () =>
      pass(
        () => engine.handleUpgrade(req as EngineRequest, socket, head),
        () => socket.destroy(),
      );
    const wait = waitFor(req);
    if (wait === undefined) {
      go();
      return;
    }
    wait.then(go, (error: unknown) => {
      log.error({ err: error }, "upgrade failed");
      socket.destroy();
    });
  }

  /**
   * A handshake waits until the token is checked, so that the answer can carry the session's marks; what a flooding
   * client posts waits until it may send again.
   */
  function waitFor(req: IncomingMessage): Promise<unknown> | undefined {
    const sid = sidOf(req);
    if (sid === undefined) return identify(req);
    return req.method === "POST" ? lines.get(sid)?.line.resumed() : undefined;
  }

  /** engine.io throws at some malformed URLs. */
  function pass(action: () => void, onFailure: () => void): void {
    try {
      action();
    } catch (error) {
      counters.count("worker.connects_refused", "malformed");
      log.debug({ err: error }, "connection request refused");
      onFailure();
    }
  }

  function mark(headers: Record<string, string>, req: IncomingMessage): void {
    const sid = sidOf(req);
    // A browser's upgrade carries only the sid.
    const handshake = sid === undefined ? req : lines.get(sid)?.conn.request;
    if (handshake === undefined || (sid !== undefined && req.headers.upgrade === undefined)) return;
    const token = known.get(handshake);
    const session = token && registry.live(token.sessionId);
    if (session === undefined) return;
    headers[SESSION_HEADER] = session.id;
    headers[EPOCH_HEADER] = String(session.epoch);
  }

  // --- CONNECT ---

  /**
   * Holds the CONNECT until it is clear what becomes of it; then lets it connect, because refusals come after that. A client
   * that must come back gets no answer: its connection is about to close.
   */
  function park(socket: Socket, next: (error?: Error) => void): void {
    const { conn } = socket;
    if (taken.has(conn)) {
      counters.count("worker.connects_refused", "second namespace");
      next(new Error("one namespace per connection"));
      return;
    }
    taken.add(conn);
    judge(socket).then(
      (verdict) => {
        if (verdict.verdict === "later") {
          comeBack(socket, verdict.reason);
          return;
        }
        verdicts.set(socket, verdict);
        next();
      },
      (error: unknown) => {
        log.error({ err: error }, "connection could not be judged");
        comeBack(socket, "error");
      },
    );
  }

  function comeBack(socket: Socket, reason: string): void {
    counters.count("worker.connects_refused", reason);
    closeConnection(socket.conn);
  }

  async function inLine(): Promise<void> {
    const waitMs = admissionLimiter.join();
    if (waitMs === 0) return;
    counters.count("worker.admissions_delayed");
    await sleep(clock, waitMs);
  }

  async function judge(socket: Socket): Promise<Verdict> {
    const token = await identify(socket.request);
    if (token === undefined) return { verdict: "refused", reason: "token" };
    const introduction = introductionOf(socket.request);
    if (introduction === undefined) return { verdict: "refused", reason: "key" };
    const { conn } = socket;
    await inLine();
    if (conn.readyState !== "open") return { verdict: "later", reason: "gone" };
    const claim = await registry.claimPatiently(token.sessionId, {
      forMs: PARK_MS,
      isWanted: () => conn.readyState === "open",
    });
    if (claim.outcome === "undecided") return { verdict: "later", reason: "undecided" };
    if (claim.outcome === "elsewhere") return { verdict: "later", reason: "elsewhere" };
    if (claim.outcome !== "here") return { verdict: "refused", reason: claim.outcome };
    const { session } = claim;
    // Who comes back is held to the key that was checked at first, and checking one costs 0.1 ms: most of those who come at
    // once come back.
    if (!session.hasPeer(token.peerId) && !isPublicKey(introduction.publicKey)) {
      return { verdict: "refused", reason: "key" };
    }
    const admission = await session.admit(token, introduction);
    switch (admission.outcome) {
      case "admitted":
        return { verdict: "admitted", session, peer: admission.peer };
      case "refused":
        return { verdict: "refused", reason: admission.reason };
      case "lost":
        return { verdict: "later", reason: "elsewhere" };
    }
  }

  /** In one turn with the report of the socket, so that no early message is lost. */
  function welcome(socket: Socket): void {
    const verdict = verdicts.get(socket);
    const entry = lines.get(ids.get(socket.request) ?? "");
    if (verdict?.verdict !== "admitted" || entry === undefined) {
      counters.count(
        "worker.connects_refused",
        verdict?.verdict === "refused" ? verdict.reason : "gone",
      );
      socket.disconnect(true);
      return;
    }
    entry.line.admit();
    const connection = createConnection(socket, entry.line.ordinal, needs.fence);
    verdict.session.attach(verdict.peer, connection);
    entry.connection = connection;
    if (entry.isLetGo) part(connection);
  }

  function part(connection: Connection): void {
    connection.leave();
    clock.after(MIGRATE_GRACE_MS, () => connection.close());
  }

  return {
    identify,
    handleRequest,
    handleUpgrade,
    letGo(requestIds) {
      const named = new Set(requestIds);
      for (const req of upgraded.values()) {
        const requestId = fieldOf(req, REQUEST_ID_HEADER);
        if (requestId === undefined || !named.has(requestId)) continue;
        const entry = lines.get(sidOf(req) ?? ids.get(req) ?? "");
        if (entry === undefined) continue;
        entry.isLetGo = true;
        if (entry.connection !== undefined) part(entry.connection);
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

/** What engine.io calls its requests: an `IncomingMessage` to which it adds what it needs. */
type EngineRequest = Parameters<EngineServer["handleRequest"]>[0];

function refuse(res: ServerResponse): void {
  if (!res.headersSent) res.writeHead(400);
  res.end();
}

// --- what a request says ---

const MAX_KEY_CHARS = 4096;
const MAX_CLIENT_CHARS = 256;
const MAX_COMPRESSIONS = 8;
const MAX_COMPRESSION_CHARS = 32;

/** undefined when there is no public key, or one that is too long to be any. */
function introductionOf(req: IncomingMessage): Introduction | undefined {
  const publicKey = fieldOf(req, "x-oct-public-key");
  if (publicKey === undefined || publicKey.length > MAX_KEY_CHARS) return undefined;
  const compression = (fieldOf(req, "x-oct-compression") ?? "none")
    .split(",", MAX_COMPRESSIONS)
    .map((name) => name.trim().slice(0, MAX_COMPRESSION_CHARS))
    .filter((name) => name !== "");
  return {
    publicKey,
    client: (fieldOf(req, "x-oct-client") ?? "unknown").slice(0, MAX_CLIENT_CHARS),
    compression: compression.length > 0 ? compression : ["none"],
  };
}

/** With another one others would fail to encrypt for this peer, and so for all. */
function isPublicKey(text: string): boolean {
  try {
    const key = createPublicKey({ key: Buffer.from(text, "base64"), format: "der", type: "spki" });
    return key.asymmetricKeyType === "rsa";
  } catch {
    return false;
  }
}

function sidOf(req: IncomingMessage): string | undefined {
  const url = req.url ?? "";
  const query = url.indexOf("?");
  if (query === -1) return undefined;
  return new URLSearchParams(url.slice(query + 1)).get("sid") ?? undefined;
}

function fieldOf(req: IncomingMessage, name: string): string | undefined {
  const value = req.headers[name];
  return typeof value === "string" && value !== "" ? value : undefined;
}

function cookieOf(req: IncomingMessage, name: string): string | undefined {
  for (const pair of (req.headers.cookie ?? "").split(";")) {
    const equals = pair.indexOf("=");
    if (equals !== -1 && pair.slice(0, equals).trim() === name)
      return pair.slice(equals + 1).trim();
  }
  return undefined;
}
