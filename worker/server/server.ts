/**
 * The worker's public server: one port for the protocol's HTTP API and its sockets. It decides by a request's head, before it
 * reads the body: whether the request is for this worker, whether a balancer authenticated it, and whether this worker owns
 * the session.
 */
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { type Clock, sleep, type Timer } from "../../shared/base/clock.ts";
import { isWorkerId, type SessionId } from "../../shared/base/ids.ts";
import type { Log } from "../../shared/logs/log.ts";
import { countWorkerLinks } from "../../shared/metrics/link-counters.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import {
  BALANCER_HEADER,
  EDGE_HEADER_PREFIX,
  KEY_HEADER,
  PROBE_PATH,
  RESUME_PATH,
  RESUME_TICKET_HEADER,
  STORE_HEADER,
} from "../../shared/net/edge-headers.ts";
import { createServer } from "../../shared/net/node-http.ts";
import { unlessAway } from "../../shared/store/unless-away.ts";
import type { Api } from "../api/api.ts";
import type { BalancerAuth } from "../balancers/balancer-auth.ts";
import {
  answerMembersQuestion,
  isMembersQuestion,
  type MembersQuestion,
} from "../balancers/members-question.ts";
import type { OutageReports } from "../balancers/outage-reports.ts";
import type { Origins } from "../http/origins.ts";
import {
  type HttpResponse,
  misdirectedResponse,
  refuseUpgrade,
  sendResponse,
  textResponse,
  wrongWorkerResponse,
} from "../http/responses.ts";
import { isSocketPath, pathOf, readTarget } from "../http/routes.ts";
import { createLinkServer, isLinkRequest, type LinkServer } from "../links/link-server.ts";
import { type Handovers, isHandover } from "../session-moves/handover.ts";
import { handleMigrateRequest, isMigrateRequest } from "../session-moves/migrate-clients.ts";
import type { Fence } from "../sessions/fence.ts";
import { OWNER_TIMEOUT_MS } from "../sessions/owner-probe.ts";
import type { Claim, Registry } from "../sessions/registry.ts";
import { sidOf } from "../sessions/transport/client-request.ts";
import type { Sockets } from "../sessions/transport/socket.ts";

interface Deps {
  readonly api: Pick<Api, "handle" | "methodsOf">;
  readonly sockets: Pick<
    Sockets,
    "sessionOf" | "handleRequest" | "handleUpgrade" | "handleResume" | "letGo"
  >;
  readonly registry: Pick<Registry, "claim">;
  readonly origins: Origins;
  readonly balancerAuth: BalancerAuth;
  readonly outageReports: Pick<OutageReports, "note">;
  readonly members: MembersQuestion;
  readonly fence: Pick<Fence, "look">;
  /** The path of `CT_SERVER_URL` without a trailing slash, for a proxy in front that does not strip it. */
  readonly basePath: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly handovers: Handovers;
  /** Whether balancers may open links (CT_LINK). */
  readonly hasLinks: boolean;
  /** Of a client's request; balancers add to it. */
  readonly maxHeadBytes: number;
  /** Time limit for a request's head; default 10 s. */
  readonly headTimeoutMs?: number;
}

/** What balancers add to a client's head: a copy of a key of up to 8 KiB, and a few headers of their own. */
const ADDED_HEAD_BYTES = 16 * 1024;
const HEAD_TIMEOUT_MS = 10_000;
/** Enough for a polling client to send a message of 16 MiB over a slow connection. */
const REQUEST_TIMEOUT_MS = 300_000;
/** Longer than balancers keep idle connections, so that the worker never closes one while a request is on its way. */
const IDLE_TIMEOUT_MS = 70_000;
/** How often Node looks for late heads; its default is 30 s. */
const CHECK_MS = 1000;
/** Of TCP, and as many streams of links. */
const MAX_CONNECTIONS = 20_000;
/**
 * Connections that the kernel may queue until they are accepted. When a worker or a balancer dies, all its clients reconnect
 * within a second, with several requests each. Beyond Node's default of 511 the kernel drops connections to a worker that is
 * busy for half a second, and retries a dropped one only after 1 s, which balancers take for an unresponsive worker. Linux caps
 * it at net.core.somaxconn, 4096 by default.
 */
const BACKLOG = 16_384;
/**
 * A handshake is accepted after this even if the session's owner is not known yet; the CONNECT packet then waits. Longer than
 * the timeout of an owner probe (owner-probe.ts): an owner that is busy with reconnecting clients responds late, and a client
 * that was accepted here meanwhile has to be sent away, which costs it a step of its backoff; a 421 costs nothing.
 */
const HANDSHAKE_BUDGET_MS = OWNER_TIMEOUT_MS + 200;
/** Time for responses under way to complete when the worker stops. */
const CLOSE_GRACE_MS = 200;

export function createWorkerServer(deps: Deps) {
  const { log, counters } = deps;
  const server = createServer({
    insecureHTTPParser: false,
    maxHeaderSize: deps.maxHeadBytes + ADDED_HEAD_BYTES,
    headersTimeout: deps.headTimeoutMs ?? HEAD_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: IDLE_TIMEOUT_MS,
    connectionsCheckingInterval: Math.min(CHECK_MS, deps.headTimeoutMs ?? CHECK_MS),
  });
  // The size of a head is limited; a limit on the number of headers would drop the rest silently.
  server.maxHeadersCount = 0;
  server.maxConnections = MAX_CONNECTIONS;

  const links = deps.hasLinks
    ? createLinkServer({
        ...deps,
        maxStreams: MAX_CONNECTIONS,
        serve: (socket) => server.emit("connection", socket),
      })
    : undefined;
  if (links !== undefined) countWorkerLinks(deps.counters, links.counts);
  deps.counters.gauge("worker.links", () => links?.links ?? 0);
  deps.counters.gauge("worker.link.streams", () => links?.streams ?? 0);
  const openResponses = new Set<ServerResponse>();
  let isClosing = false;
  /** Over when the responses under way have had their time to complete. */
  let grace: Promise<void> | undefined;

  server.on("request", (req, res) => {
    req.on("error", ignore);
    res.on("error", ignore);
    openResponses.add(res);
    res.once("close", () => openResponses.delete(res));
    if (isClosing) res.shouldKeepAlive = false;
    // Asynchronous, so that an exception does not end the process.
    handleRequest(deps, req, res).catch((error: unknown) => {
      log.error({ err: error }, "a request failed");
      res.destroy();
    });
  });
  server.on("upgrade", (req, socket, head) => {
    socket.on("error", () => socket.destroy());
    handleUpgrade(deps, links, { req, socket, head }).catch((error: unknown) => {
      log.error({ err: error }, "an upgrade failed");
      socket.destroy();
    });
  });
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    if (isDisconnect(error) || !socket.writable) {
      socket.destroy();
      return;
    }
    counters.count("worker.requests_refused", "http");
    refuseUpgrade(socket, RESPONSE_BY_ERROR[error.code ?? ""] ?? MALFORMED);
  });
  server.on("drop", () => counters.count("worker.requests_refused", "connections"));

  return {
    /** Opens the port and resolves with it. Rejects with the system's error. */
    listen: (port: number, host: string): Promise<number> =>
      new Promise((resolve, reject) => {
        server.once("error", reject);
        server.listen({ port, host, backlog: BACKLOG }, () => {
          server.off("error", reject);
          server.on("error", (error) => log.error({ err: error }, "the HTTP server failed"));
          const address = server.address();
          resolve(typeof address === "object" && address !== null ? address.port : port);
        });
      }),
    /**
     * Stops accepting, gives responses under way a moment to complete, and closes the other connections. Resolves when all
     * have ended, those of links too.
     */
    async close(): Promise<void> {
      isClosing = true;
      // Otherwise a balancer would send its next request on a connection that is about to be closed.
      for (const res of openResponses) res.shouldKeepAlive = false;
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      links?.refuse();
      server.closeIdleConnections();
      // Not just until no response is open: a request may be on its way on a connection, or on a link.
      grace = Promise.race([closed, sleep(deps.clock, CLOSE_GRACE_MS)]);
      await grace;
      server.closeAllConnections();
      await closed;
    },
    /** Ends the links, and what is still open on them when the moment that `close` gives responses is over. */
    async closeLinks(): Promise<void> {
      await grace;
      links?.close();
    },
  };
}

async function handleRequest(deps: Deps, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const refusal = checkHead(deps, req);
  if (refusal !== undefined) {
    deps.counters.count("worker.requests_refused", refusal.reason);
    sendResponse(res, refusal.response);
  } else if (isProbe(deps, req)) {
    // A fenced worker must get no clients, and must not keep other workers from taking its sessions over.
    res.writeHead(deps.fence.look() === "shut" ? 503 : 204).end();
  } else if (isMembersQuestion(req)) {
    answerMembersQuestion(deps.members, deps.fence.look() === "shut", req, res);
  } else if (isHandover(req)) {
    await deps.handovers.handle(req, res);
  } else if (isMigrateRequest(req)) {
    await handleMigrateRequest(deps.sockets, req, res);
  } else if (isSocketPath(pathOf(req.url ?? ""))) {
    await serveSocketRequest(deps, req, res);
  } else {
    deps.api.handle(req, res);
  }
}

interface Upgrade {
  readonly req: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
}

async function handleUpgrade(
  deps: Deps,
  links: LinkServer | undefined,
  { req, socket, head }: Upgrade,
): Promise<void> {
  const misdirected = checkHead(deps, req);
  if (misdirected === undefined && links !== undefined && isLinkRequest(req)) {
    links.accept(req, socket, head);
    return;
  }
  const refusal = misdirected ?? checkUpgrade(deps, req);
  if (refusal !== undefined) {
    deps.counters.count("worker.requests_refused", refusal.reason);
    refuseUpgrade(socket, refusal.response);
    return;
  }
  const elsewhere = await findElsewhere(deps, req);
  if (elsewhere !== undefined) refuseUpgrade(socket, elsewhere);
  else if (isResume(req)) await resume(deps, { req, socket, head });
  else deps.sockets.handleUpgrade(req, socket, head);
}

/** A client's request to the same path has no ticket, because balancers strip it, and is one to an unknown path. */
function isResume({ url, headers }: IncomingMessage): boolean {
  return url === RESUME_PATH && headers[RESUME_TICKET_HEADER] !== undefined;
}

async function resume(deps: Deps, { req, socket, head }: Upgrade): Promise<void> {
  if (!deps.hasLinks) {
    refuseUpgrade(socket, textResponse(404, "links are off here"));
    return;
  }
  const result = await deps.sockets.handleResume(req, socket, head);
  if (result.outcome === "refused") {
    refuseUpgrade(socket, textResponse(result.status, result.reason));
  } else if (result.outcome === "elsewhere") {
    const owner = deps.balancerAuth.nameOwner(req, result.owner);
    refuseUpgrade(socket, misdirectedResponse({ ...result, owner }));
  }
}

// --- the head ---

interface Refusal {
  readonly reason: string;
  readonly response: HttpResponse;
}

/**
 * Refuses a request that is not for this worker. Without a balancer's proof the internal and forwarding headers are stripped
 * here, once, so that no later code trusts them by mistake.
 */
function checkHead(deps: Deps, req: IncomingMessage): Refusal | undefined {
  const { url = "", headers } = req;
  // Also refuses `*` and absolute targets: balancers send neither.
  if (!url.startsWith("/")) return { reason: "url", response: textResponse(400, "Malformed URL") };
  const meant = deps.balancerAuth.judge(req);
  if (meant === "none") stripUntrusted(headers);
  if (meant === "other")
    return {
      reason: "wrong-worker",
      response: wrongWorkerResponse(deps.balancerAuth.incarnationProof(req)),
    };
  // Once, before any other code reads it: two readings of one path could be authorized differently.
  const { target, sessionId } = readTarget(url, deps.basePath);
  req.url = target;
  // As balancers do with a key in the path; the client's own header comes before it.
  if (sessionId !== undefined && headers["ctstickiness"] === undefined) {
    headers[KEY_HEADER] = sessionId;
  }
  return undefined;
}

/**
 * Whether the request is a balancer's probe; if so, its report on the store is recorded. A client's request to the same path
 * has no probe headers, because balancers strip them, and is one to an unknown path.
 */
function isProbe(deps: Deps, { method, url, headers }: IncomingMessage): boolean {
  if (method !== "GET" || url !== PROBE_PATH) return false;
  const balancer = headers[BALANCER_HEADER];
  const store = headers[STORE_HEADER];
  if (typeof balancer !== "string" || !isWorkerId(balancer)) return false;
  if (store !== "up" && store !== "away") return false;
  deps.outageReports.note(balancer, store);
  return true;
}

function stripUntrusted(headers: IncomingHttpHeaders): void {
  for (const name of Object.keys(headers)) {
    const isClaim =
      name.startsWith(EDGE_HEADER_PREFIX) ||
      name.startsWith("x-forwarded-") ||
      name === "forwarded" ||
      name === "x-real-ip";
    if (isClaim) delete headers[name];
  }
}

function checkUpgrade({ api }: Deps, req: IncomingMessage): Refusal | undefined {
  const path = pathOf(req.url ?? "");
  if (isSocketPath(path) || isResume(req)) return undefined;
  return api.methodsOf(path) === undefined
    ? { reason: "path", response: textResponse(404, "Not found") }
    : { reason: "upgrade", response: textResponse(400, "This path accepts no upgrade") };
}

// --- sockets ---

const SOCKET_METHODS = ["GET", "POST"];

async function serveSocketRequest(
  deps: Deps,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
  const { origins, counters } = deps;
  const cors = origins.fields(req);
  if (req.method === "OPTIONS") {
    const preflight = { status: 200, fields: origins.preflightFields(SOCKET_METHODS), body: "" };
    sendResponse(res, preflight, cors);
    return;
  }
  if (!SOCKET_METHODS.includes(req.method ?? "")) {
    counters.count("worker.requests_refused", "method");
    const allow = [...SOCKET_METHODS, "OPTIONS"].join(", ");
    sendResponse(res, textResponse(405, "Method not allowed"), { ...cors, allow });
    return;
  }
  const elsewhere = await findElsewhere(deps, req);
  if (elsewhere !== undefined) {
    sendResponse(res, elsewhere, cors);
    return;
  }
  for (const [name, value] of Object.entries(cors)) res.setHeader(name, value);
  deps.sockets.handleRequest(req, res);
}

/**
 * The 421 for a new connection to a session of another worker. An existing connection (`sid`) is here or does not exist; an
 * invalid token is refused by the socket itself, because only then does its client give up.
 */
async function findElsewhere(deps: Deps, req: IncomingMessage): Promise<HttpResponse | undefined> {
  if (sidOf(req) !== undefined) return undefined;
  const sessionId = await deps.sockets.sessionOf(req);
  if (sessionId === undefined) return undefined;
  // When the owner cannot be looked up now, the socket is accepted and waits.
  const claim = await unlessAway(claimInTime(deps, sessionId));
  if (claim?.outcome !== "elsewhere") return undefined;
  deps.counters.count("worker.requests_misdirected");
  const owner = deps.balancerAuth.nameOwner(req, claim.owner);
  return misdirectedResponse({ sessionId, owner, epoch: claim.epoch });
}

async function claimInTime(
  { registry, clock }: Deps,
  sessionId: SessionId,
): Promise<Claim | undefined> {
  let budget: Timer | undefined;
  const late = new Promise<undefined>((resolve) => {
    budget = clock.after(HANDSHAKE_BUDGET_MS, () => resolve(undefined));
  });
  try {
    return await Promise.race([registry.claim(sessionId), late]);
  } finally {
    budget?.cancel();
  }
}

// --- malformed requests ---

const RESPONSE_BY_ERROR: Readonly<Record<string, HttpResponse>> = {
  HPE_HEADER_OVERFLOW: textResponse(431, "The request headers are too large"),
  ERR_HTTP_REQUEST_TIMEOUT: textResponse(408, "The request took too long"),
};
const MALFORMED = textResponse(400, "Malformed request");

/**
 * The peer went away in the middle of a request: nothing was refused. A balancer does so after an early response, a 413
 * say, whose request had not been sent to its end.
 */
function isDisconnect({ code }: NodeJS.ErrnoException): boolean {
  return code === "ECONNRESET" || code === "HPE_INVALID_EOF_STATE";
}

function ignore(): void {}
