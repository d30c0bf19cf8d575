/**
 * The protocol's HTTP side: which rooms it has, what goes with every answer, and what becomes of requests that fit
 * nowhere or fail.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import type { Clock } from "../../shared/base/clock.ts";
import { errorCode } from "../../shared/base/errors.ts";
import type { WorkerTag } from "../../shared/base/tag.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import type { Settings } from "../../shared/settings/read-settings.ts";
import { type Store, StoreAwayError } from "../../shared/store/store.ts";
import type { BalancerAuth } from "../balancers/balancer-auth.ts";
import { addClientsRoutes, type ClientsArea } from "../clients/serve/routes.ts";
import { addDashboardRoutes, type DashboardArea } from "../dashboard/routes.ts";
import type { Origins } from "../http/origins.ts";
import { addPages } from "../http/pages.ts";
import {
  type Answer,
  COMMON_HEADERS,
  infoResponse,
  type Refuse,
  replyWith,
  textResponse,
} from "../http/responses.ts";
import { methodsOf } from "../http/routes.ts";
import type { LicenseCheck } from "../login/license-check.ts";
import { signInWays } from "../login/providers.ts";
import { createSignIns } from "../login/sign-ins.ts";
import type { Tokens } from "../login/tokens.ts";
import type { Credentials } from "../operators/credentials.ts";
import { createRequireOperator } from "../operators/require-operator.ts";
import type { Registry } from "../sessions/registry.ts";
import { createAuthentication } from "./authentication.ts";
import { addHomePage } from "./home.ts";
import { addLoginRoutes } from "./login.ts";
import { addMetricsRoute } from "./metrics.ts";
import { createPolls } from "./polls.ts";
import { addSessionRoutes, sessionOfPoll } from "./session.ts";

export interface Api {
  /** Takes any request but those of sockets. */
  handle(req: IncomingMessage, res: ServerResponse): void;
  /** Long polls that wait now. */
  readonly waitingPolls: number;
  /** For a worker that drains: whoever waits is told to ask again, and later polls wait for a second only. */
  shortenPolls(): void;
  /** Tells whoever waits to ask again; later polls do not wait. Everything else is answered as before. */
  releasePolls(): void;
  /** Call it when no requests come any more. */
  close(): Promise<void>;
}

export interface ApiNeeds {
  readonly store: Store;
  readonly tokens: Pick<Tokens, "signUser" | "verifyUser" | "revokeUser">;
  readonly registry: Pick<Registry, "create" | "claim" | "claimPatiently" | "live">;
  /** The owner of a session as whoever asked knows it. */
  readonly nameOwner: BalancerAuth["nameOwner"];
  readonly origins: Origins;
  readonly credentials: Pick<Credentials, "check">;
  /** Undefined: no plugins are offered. */
  readonly clients: ClientsArea | undefined;
  /** The cluster's metrics; undefined when the public ports have none. */
  readonly metricsPage: (() => Promise<string>) | undefined;
  readonly dashboard: DashboardArea;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly settings: Pick<
    Settings,
    | "serverOwner"
    | "serverUrl"
    | "loginSimple"
    | "loginApiKey"
    | "loginUnverifiedEmail"
    | "protocolVersion"
  >;
  readonly license: LicenseCheck;
  /** Of this worker: sign-ins that begin here are polled here. */
  readonly tag: WorkerTag;
  /** When a long poll ends without an answer; default 30 s. */
  readonly pollTimeoutMs?: number;
}

/** As in the protocol's own server; the forms are far smaller. */
const MAX_BODY_BYTES = 100 * 1024;
/** Fastify's own limit answers in its own form; a head is limited anyway, and each route knows what its parameter may be. */
const MAX_PARAM_CHARS = 65_536;

export async function createApi(needs: ApiNeeds): Promise<Api> {
  const { counters, origins, settings } = needs;
  const refuse: Refuse = (reply, reason, answer) => {
    counters.count("worker.requests_refused", reason);
    return replyWith(reply, answer);
  };
  const setCommonHeaders = ({ raw }: FastifyRequest, reply: FastifyReply): void => {
    reply.headers({ ...COMMON_HEADERS, ...origins.fields(raw) });
  };
  const app = Fastify({
    bodyLimit: MAX_BODY_BYTES,
    routerOptions: { maxParamLength: MAX_PARAM_CHARS },
    frameworkErrors(_error, request, reply) {
      setCommonHeaders(request, reply);
      void refuse(reply, "url", textResponse(400, "Malformed URL"));
    },
  });
  app.addHook("onRequest", async (request, reply) => setCommonHeaders(request, reply));
  readNoBodies(app);
  app.setNotFoundHandler((request, reply) => handleNotFound(request, reply, { origins, refuse }));
  app.setErrorHandler((error, request, reply) => {
    const failure = describeFailure(error);
    if (failure.isOurs) {
      needs.log.error({ err: error, route: request.routeOptions.url }, "a request failed");
    }
    // Fastify would close the connection over a body that is still coming; the system then resets it, and the answer is
    // lost on its way to the balancer. The rest is read and thrown away instead.
    reply.removeHeader("connection");
    request.raw.resume();
    return refuse(reply, failure.reason, failure.answer);
  });

  const ways = signInWays(settings);
  const signIns = createSignIns(needs);
  const polls = createPolls({
    ...needs,
    async putBack(kind, token) {
      if (kind === "login") return signIns.putBack(token);
      const sessionId = sessionOfPoll(token);
      const session = sessionId === undefined ? undefined : needs.registry.live(sessionId);
      return (await session?.putJoinBack(token)) ?? false;
    },
    ...(needs.pollTimeoutMs !== undefined && { timeoutMs: needs.pollTimeoutMs }),
  });
  const authentication = createAuthentication({ ...needs, ways });
  const parts = { ...needs, app, refuse, polls, authentication, ways };
  app.get("/api/meta", () => ({
    owner: settings.serverOwner,
    version: settings.protocolVersion,
    transports: ["socket.io"],
  }));
  addLoginRoutes({ ...parts, signIns });
  addSessionRoutes(parts);
  addPages(parts);
  addHomePage({ ...parts, offersPlugins: needs.clients !== undefined });
  const requireOperator = createRequireOperator(parts);
  addClientsRoutes({ ...parts, requireOperator });
  addMetricsRoute({ ...parts, requireOperator });
  addDashboardRoutes({ ...parts, requireOperator });
  await app.ready();

  return {
    handle: (req, res) => app.routing(req, res),
    get waitingPolls() {
      return polls.waiting;
    },
    shortenPolls: () => polls.shorten(),
    releasePolls: () => polls.close(),
    async close() {
      polls.close();
      await app.close();
    },
  };
}

/**
 * Most routes take no body, so none is waited for: Node throws away what comes. The forms have parsers of their own
 * (login.ts).
 */
function readNoBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", (_request, _payload, done) => done(null, undefined));
}

/** A preflight, a method that does not fit, or a path that does not exist. */
function handleNotFound(
  request: FastifyRequest,
  reply: FastifyReply,
  { origins, refuse }: { origins: Origins; refuse: Refuse },
): FastifyReply {
  const methods = methodsOf(request.raw.url ?? "");
  // With the right method it is a way to sign in that is off.
  if (methods === undefined || methods.includes(request.method)) {
    return refuse(reply, "path", textResponse(404, "Not found"));
  }
  if (request.method === "OPTIONS") {
    return reply.code(200).headers(origins.preflightFields(methods)).send();
  }
  reply.header("allow", [...methods, "OPTIONS"].join(", "));
  return refuse(reply, "method", textResponse(405, "Method not allowed"));
}

interface Failure {
  readonly reason: string;
  readonly answer: Answer;
  /** A bug or a broken part, not something that the client did. */
  readonly isOurs: boolean;
}

function describeFailure(error: unknown): Failure {
  if (error instanceof StoreAwayError) {
    const answer = infoResponse(503, "StoreAway", "The server is busy; please try again");
    return { reason: "store-away", answer, isOurs: false };
  }
  const known = FAILURES.get(errorCode(error) ?? "");
  return known ?? { reason: "internal", answer: INTERNAL, isOurs: true };
}

const INTERNAL = textResponse(500, "An internal server error occurred");

/** What Fastify and the socket say of requests. */
const FAILURES: ReadonlyMap<string, Failure> = new Map([
  ["FST_ERR_CTP_BODY_TOO_LARGE", theirs("body-size", 413, "The body is too large")],
  ["FST_ERR_CTP_INVALID_CONTENT_LENGTH", theirs("body", 400, "The body is not as long as it says")],
  ["FST_ERR_CTP_INVALID_MEDIA_TYPE", theirs("content-type", 415, "The content type is unknown")],
  // The client went away in the middle of its body.
  ["ECONNRESET", theirs("aborted", 400, "The body did not end")],
  ["FST_ERR_CTP_INVALID_JSON_BODY", theirs("json", 400, "The body is not JSON")],
]);

function theirs(reason: string, status: number, text: string): Failure {
  return { reason, answer: textResponse(status, text), isOurs: false };
}
