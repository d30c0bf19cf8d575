/**
 * The worker's public server: one port for the protocol's HTTP side and its sockets. What a request's head says is judged
 * here, before anything of its body is read: whether it was meant for this worker, whether a balancer vouches for it, and
 * whether this worker has the session.
 */
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { type Clock, sleep, type Timer } from "../../shared/base/clock.ts";
import { isWorkerId, type SessionId } from "../../shared/base/ids.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import {
  BALANCER_HEADER,
  EDGE_HEADER_PREFIX,
  PROBE_PATH,
  STORE_HEADER,
} from "../../shared/net/edge-headers.ts";
import { createServer } from "../../shared/net/node-http.ts";
import { StoreAwayError } from "../../shared/store/store.ts";
import type { Api } from "../api/api.ts";
import type { BalancerAuth } from "../balancers/balancer-auth.ts";
import {
  answerMembersQuestion,
  isMembersQuestion,
  type MembersQuestion,
} from "../balancers/members-question.ts";
import type { OutageReports } from "../balancers/outage-reports.ts";
import { type Handovers, isHandover } from "../drain/handover.ts";
import { handleMigrateRequest, isMigrateRequest } from "../drain/migrate.ts";
import type { Origins } from "../http/origins.ts";
import {
  type Answer,
  misdirectedResponse,
  refuseUpgrade,
  sendResponse,
  textResponse,
  wrongWorkerResponse,
} from "../http/responses.ts";
import { isSocketPath, methodsOf, normalTarget, pathOf } from "../http/routes.ts";
import type { Fence } from "../sessions/fence.ts";
import { OWNER_TIMEOUT_MS } from "../sessions/owner-probe.ts";
import type { Claim, Registry } from "../sessions/registry.ts";
import type { Sockets } from "../sessions/transport/socket.ts";

export interface WorkerServer {
  /** Opens the port and resolves with it. Rejects with the system's error. */
  listen(port: number, host: string): Promise<number>;
  /** Takes nothing new, lets what is under way end for a moment, and cuts off the rest. */
  close(): Promise<void>;
}

interface Needs {
  readonly api: Pick<Api, "handle">;
  readonly sockets: Pick<Sockets, "identify" | "handleRequest" | "handleUpgrade" | "letGo">;
  readonly registry: Pick<Registry, "claim">;
  readonly origins: Origins;
  readonly balancerAuth: BalancerAuth;
  readonly outageReports: Pick<OutageReports, "note">;
  readonly members: MembersQuestion;
  readonly fence: Pick<Fence, "look">;
  /** The path of `CT_SERVER_URL` without a slash at its end, for a proxy in front that does not strip it. */
  readonly basePath: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly handovers: Handovers;
  /** Of a client. */
  readonly maxHeadBytes: number;
  /** A client has so long to send a head; default 10 s. */
  readonly headTimeoutMs?: number;
}

/** What balancers add to a client's head: a key of up to 8 KiB once more, and a few fields of their own. */
const ADDED_HEAD_BYTES = 16 * 1024;
const HEAD_TIMEOUT_MS = 10_000;
/** A message of 16 MiB on a slow line, when a client polls. */
const REQUEST_TIMEOUT_MS = 300_000;
/** Longer than a balancer keeps an idle connection, so that none is closed under a request. */
const IDLE_TIMEOUT_MS = 70_000;
/** Node looks for late heads only so often; its default is 30 s. */
const CHECK_MS = 1000;
const MAX_CONNECTIONS = 20_000;
/**
 * Connections that the system may hold until they are accepted. When a worker or a balancer has died, everybody comes back
 * within a second, with several requests each. Beyond Node's default of 511 the system drops connections of a worker that
 * is busy for half a second, and a dropped one is tried again only after 1 s: balancers take that for a worker that is
 * away. Linux caps it at net.core.somaxconn, 4096 by default.
 */
const BACKLOG = 16_384;
/**
 * A handshake is accepted after this at the latest, also when it is not clear yet whose the session is: its CONNECT waits.
 * Longer than an owner has to answer (owner-probe.ts): one that is busy with everybody else who comes back answers late, and a
 * client that was accepted here meanwhile has to be sent away, which costs it a step of its back-off; a 421 costs nothing.
 */
const HANDSHAKE_BUDGET_MS = OWNER_TIMEOUT_MS + 200;
/** Answers under way have so long when the worker stops. */
const CLOSE_GRACE_MS = 200;

export function createWorkerServer(needs: Needs): WorkerServer {
  const { log, counters } = needs;
  const server = createServer({
    insecureHTTPParser: false,
    maxHeaderSize: needs.maxHeadBytes + ADDED_HEAD_BYTES,
    headersTimeout: needs.headTimeoutMs ?? HEAD_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: IDLE_TIMEOUT_MS,
    connectionsCheckingInterval: Math.min(CHECK_MS, needs.headTimeoutMs ?? CHECK_MS),
  });
  // The size of a head is limited; a limit on lines would drop some of them silently.
  server.maxHeadersCount = 0;
  server.maxConnections = MAX_CONNECTIONS;

  /** Answers under way. */
  const answers = new Set<ServerResponse>();
  let isClosing = false;

  server.on("request", (req, res) => {
    req.on("error", ignore);
    res.on("error", ignore);
    answers.add(res);
    res.once("close", () => answers.delete(res));
    if (isClosing) res.shouldKeepAlive = false;
    // Asynchronous, so that nothing that it throws ends the process.
    takeRequest(needs, req, res).catch((error: unknown) => {
      log.error({ err: error }, "a request failed");
      res.destroy();
    });
  });
  server.on("upgrade", (req, socket, head) => {
    socket.on("error", () => socket.destroy());
    takeUpgrade(needs, req, socket, head).catch((error: unknown) => {
      log.error({ err: error }, "an upgrade failed");
      socket.destroy();
    });
  });
  server.on("clientError", (error, socket) => {
    counters.count("worker.requests_refused", "http");
    refuseBytes(error, socket);
  });
  server.on("drop", () => counters.count("worker.requests_refused", "connections"));

  return {
    listen: (port, host) =>
      new Promise((resolve, reject) => {
        server.once("error", reject);
        server.listen({ port, host, backlog: BACKLOG }, () => {
          server.off("error", reject);
          server.on("error", (error) => log.error({ err: error }, "the server failed"));
          const address = server.address();
          resolve(typeof address === "object" && address !== null ? address.port : port);
        });
      }),
    async close() {
      isClosing = true;
      // Otherwise a balancer would send its next request on a connection that is about to be cut.
      for (const res of answers) res.shouldKeepAlive = false;
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      await Promise.race([closed, sleep(needs.clock, CLOSE_GRACE_MS)]);
      server.closeAllConnections();
      await closed;
    },
  };
}

async function takeRequest(needs: Needs, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const refusal = judgeHead(needs, req);
  if (refusal !== undefined) {
    needs.counters.count("worker.requests_refused", refusal.reason);
    sendResponse(res, refusal.answer);
  } else if (isProbe(needs, req)) {
    // Who may not act for its sessions must not be sent anybody, and must not keep others from taking them over.
    res.writeHead(needs.fence.look() === "shut" ? 503 : 204).end();
  } else if (isMembersQuestion(req)) {
    answerMembersQuestion(needs.members, needs.fence.look() === "shut", req, res);
  } else if (isHandover(req)) {
    await needs.handovers.handle(req, res);
  } else if (isMigrateRequest(req)) {
    await handleMigrateRequest(needs.sockets, req, res);
  } else if (isSocketPath(pathOf(req.url ?? ""))) {
    await serveSocketRequest(needs, req, res);
  } else {
    needs.api.handle(req, res);
  }
}

async function takeUpgrade(
  needs: Needs,
  req: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): Promise<void> {
  const refusal = judgeHead(needs, req) ?? judgeUpgrade(req);
  if (refusal !== undefined) {
    needs.counters.count("worker.requests_refused", refusal.reason);
    refuseUpgrade(socket, refusal.answer);
    return;
  }
  const elsewhere = await findElsewhere(needs, req);
  if (elsewhere !== undefined) refuseUpgrade(socket, elsewhere);
  else needs.sockets.handleUpgrade(req, socket, head);
}

// --- the head ---

interface Refusal {
  readonly reason: string;
  readonly answer: Answer;
}

/**
 * Whether the request is for this worker at all. What no balancer vouches for is taken away here, once, so that nothing
 * behind this line can trust it by mistake.
 */
function judgeHead(needs: Needs, req: IncomingMessage): Refusal | undefined {
  const { url = "", headers } = req;
  // Also refuses `*` and absolute targets: a balancer sends neither.
  if (!url.startsWith("/")) return { reason: "url", answer: textResponse(400, "Malformed URL") };
  const meant = needs.balancerAuth.judge(req);
  if (meant === "none") stripUntrusted(headers);
  if (meant === "other")
    return {
      reason: "wrong-worker",
      answer: wrongWorkerResponse(needs.balancerAuth.incarnationProof(req)),
    };
  // Once, before anything behind this line looks at it: two readings of one path are two answers to "who may".
  req.url = normalTarget(url, needs.basePath);
  return undefined;
}

/**
 * Whether a balancer asks if we answer; then what it says of the store is noted. A client's request to the same path has
 * none of a probe's fields, because balancers take them away, and is one to an unknown path.
 */
function isProbe(needs: Needs, { method, url, headers }: IncomingMessage): boolean {
  if (method !== "GET" || url !== PROBE_PATH) return false;
  const balancer = headers[BALANCER_HEADER];
  const store = headers[STORE_HEADER];
  if (typeof balancer !== "string" || !isWorkerId(balancer)) return false;
  if (store !== "up" && store !== "away") return false;
  needs.outageReports.note(balancer, store);
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

function judgeUpgrade(req: IncomingMessage): Refusal | undefined {
  const path = pathOf(req.url ?? "");
  if (isSocketPath(path)) return undefined;
  return methodsOf(path) === undefined
    ? { reason: "path", answer: textResponse(404, "Not found") }
    : { reason: "upgrade", answer: textResponse(400, "Nothing to upgrade to here") };
}

// --- sockets ---

async function serveSocketRequest(
  needs: Needs,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
  const { origins, counters } = needs;
  const cors = origins.fields(req);
  const methods = methodsOf(req.url ?? "") ?? [];
  if (req.method === "OPTIONS") {
    const answer = { status: 200, fields: origins.preflightFields(methods), body: "" };
    sendResponse(res, answer, cors);
    return;
  }
  if (!methods.includes(req.method ?? "")) {
    counters.count("worker.requests_refused", "method");
    const allow = [...methods, "OPTIONS"].join(", ");
    sendResponse(res, textResponse(405, "Method not allowed"), { ...cors, allow });
    return;
  }
  const elsewhere = await findElsewhere(needs, req);
  if (elsewhere !== undefined) {
    sendResponse(res, elsewhere, cors);
    return;
  }
  for (const [name, value] of Object.entries(cors)) res.setHeader(name, value);
  needs.sockets.handleRequest(req, res);
}

/**
 * The answer to a new connection for a session of another worker. A connection that exists already (`sid`) is here or
 * nowhere; a token that is no good is told so by the socket itself, because only then its client gives up.
 */
async function findElsewhere(needs: Needs, req: IncomingMessage): Promise<Answer | undefined> {
  if (hasSid(req.url ?? "")) return undefined;
  const token = await needs.sockets.identify(req);
  if (token === undefined) return undefined;
  try {
    const claim = await claimInTime(needs, token.sessionId);
    if (claim?.outcome !== "elsewhere") return undefined;
    needs.counters.count("worker.requests_misdirected");
    const owner = needs.balancerAuth.nameOwner(req, claim.owner);
    return misdirectedResponse({ sessionId: token.sessionId, owner, epoch: claim.epoch });
  } catch (error) {
    // Whose the session is, cannot be told now: the socket is accepted and waits.
    if (error instanceof StoreAwayError) return undefined;
    throw error;
  }
}

async function claimInTime(
  { registry, clock }: Needs,
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

function hasSid(url: string): boolean {
  return /[?&]sid=/.test(url);
}

// --- bytes that are no request ---

const STATUS_BY_ERROR: Readonly<Record<string, Answer>> = {
  HPE_HEADER_OVERFLOW: textResponse(431, "The head is too large"),
  ERR_HTTP_REQUEST_TIMEOUT: textResponse(408, "The request took too long"),
};
const MALFORMED = textResponse(400, "Malformed request");

function refuseBytes(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (error.code === "ECONNRESET" || !socket.writable) {
    socket.destroy();
    return;
  }
  refuseUpgrade(socket, STATUS_BY_ERROR[error.code ?? ""] ?? MALFORMED);
}

function ignore(): void {}
