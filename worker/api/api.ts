/**
 * The worker's HTTP API: its routes, the headers of every response, and the responses to unknown paths, wrong methods and
 * errors.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import type { Clock } from "../../shared/base/clock.ts";
import { errorCode } from "../../shared/base/errors.ts";
import { sessionOfPollToken } from "../../shared/base/ids.ts";
import type { WorkerTag } from "../../shared/base/worker-tag.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import type { IdentityProvider } from "../../shared/settings/identity-providers.ts";
import type { RoleGroups } from "../../shared/settings/operator-roles.ts";
import type { Slice } from "../../shared/settings/read-settings.ts";
import { type Store, StoreAwayError, type UserRecord } from "../../shared/store/store.ts";
import type { Activity } from "../activity/recorder.ts";
import type { BalancerAuth } from "../balancers/balancer-auth.ts";
import type { Clients } from "../clients/clients.ts";
import { addClientsRoutes } from "../clients/serve/routes.ts";
import type { Dashboard } from "../dashboard/dashboard.ts";
import { addDashboardRoutes } from "../dashboard/routes.ts";
import type { Origins } from "../http/origins.ts";
import { addPages } from "../http/pages.ts";
import {
  COMMON_HEADERS,
  type HttpResponse,
  infoResponse,
  type Refuse,
  replyWith,
  textResponse,
} from "../http/responses.ts";
import { collectMethods, type MethodsOf } from "../http/routes.ts";
import type { ProviderClient } from "../login/identity/provider-client.ts";
import type { SignInRecords } from "../login/identity/sign-in-records.ts";
import { createWebSignIns } from "../login/identity/web-sign-ins.ts";
import type { LicenseCheck } from "../login/license-check.ts";
import { signInWays } from "../login/providers.ts";
import { createSignIns } from "../login/sign-ins.ts";
import type { Tokens } from "../login/tokens.ts";
import type { Credentials } from "../operators/credentials.ts";
import { createRequireOperator } from "../operators/require-operator.ts";
import type { Access } from "../policy/access.ts";
import type { Registry } from "../sessions/registry.ts";
import { createAuthentication } from "./authentication.ts";
import { addBackchannelLogout } from "./backchannel-logout.ts";
import { addClientAssets } from "./client-assets.ts";
import { addClientPage } from "./client-page.ts";
import { addLoginRoutes } from "./login.ts";
import { createPolls } from "./long-polls.ts";
import { addMetricsRoute } from "./metrics.ts";
import { addOperatorLogin, createOperatorLogin } from "./operator-login.ts";
import { addSessionRoutes } from "./session.ts";
import { addHintRoutes } from "./session-hints.ts";
import { addWebLogin } from "./web-login.ts";

export type Api = Awaited<ReturnType<typeof createApi>>;

export const API_SETTINGS = [
  "serverOwner",
  "serverUrl",
  "meetingUrl",
  "loginSimple",
  "loginApiKey",
  "loginUnverifiedEmail",
  "loginPageUrl",
  "loginSuccessUrl",
  "loginRedirects",
  "protocolVersion",
] as const;

interface Deps {
  readonly store: Store;
  readonly tokens: Pick<
    Tokens,
    "signUser" | "verifyUser" | "verifyRoom" | "revokeUser" | "signOperator" | "verifyOperator"
  >;
  readonly registry: Pick<Registry, "create" | "claim" | "claimPatiently" | "live">;
  /** The owner of a session, by the name that the sender of the request knows. */
  readonly nameOwner: BalancerAuth["nameOwner"];
  readonly origins: Origins;
  readonly credentials: Pick<Credentials, "check">;
  /** Undefined: no plugins are offered. */
  readonly clients: Clients | undefined;
  /** The cluster's metrics; undefined when the public port does not have them. */
  readonly metricsPage: (() => Promise<string>) | undefined;
  readonly dashboard: Dashboard;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly settings: Slice<typeof API_SETTINGS>;
  readonly identityProviders: readonly ProviderClient[];
  readonly signInRecords: Pick<SignInRecords, "begin" | "forget">;
  readonly operatorRoles: RoleGroups | undefined;
  readonly operatorProvider: string | undefined;
  readonly license: LicenseCheck;
  readonly access: Access;
  readonly activity: Activity;
  /** Of this worker: sign-ins that begin here are polled here too. */
  readonly tag: WorkerTag;
  /** Of the browser client's scripts; default: that of this build. */
  readonly clientFolder?: URL;
  /** How long a poll waits; default 30 s. */
  readonly pollTimeoutMs?: number;
}

/** As in the protocol's own server; the forms are far smaller. */
const MAX_BODY_BYTES = 100 * 1024;
/** Above any head, because Fastify's own response does not have the protocol's form; each route validates its parameters. */
const MAX_PARAM_CHARS = 65_536;

function acceptUsersOf({ label }: IdentityProvider) {
  return { authProvider: label, recognize: (user: UserRecord) => user };
}

export async function createApi(deps: Deps) {
  const { counters, origins, settings } = deps;
  const refuse: Refuse = (reply, reason, response) => {
    counters.count("worker.requests_refused", reason);
    return replyWith(reply, response);
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
  ignoreBodies(app);
  const methodsOf = collectMethods(app);
  app.setNotFoundHandler((request, reply) =>
    handleNotFound(request, reply, { methodsOf, origins, refuse }),
  );
  app.setErrorHandler((error, request, reply) => {
    const failure = describeFailure(error);
    if (failure.isOurs) {
      deps.log.error({ err: error, route: request.routeOptions.url }, "a request failed");
    }
    // Fastify would close the connection while a body is still arriving; the kernel then resets it, and the response is lost on
    // its way to the balancer. So the rest of the body is read and discarded.
    reply.removeHeader("connection");
    request.raw.resume();
    return refuse(reply, failure.reason, failure.response);
  });

  const ways = signInWays(settings);
  const signIns = createSignIns(deps);
  const polls = createPolls({
    ...deps,
    async putBack(kind, token) {
      if (kind === "login") return signIns.putBack(token);
      const sessionId = sessionOfPollToken(token);
      const session = sessionId === undefined ? undefined : deps.registry.live(sessionId);
      return (await session?.putJoinBack(token)) ?? false;
    },
    ...(deps.pollTimeoutMs !== undefined && { timeoutMs: deps.pollTimeoutMs }),
  });
  const providers = deps.identityProviders;
  const identityProviders = providers.map(({ provider }) => provider);
  const authentication = createAuthentication({
    ...deps,
    ways: [...ways, ...identityProviders.map(acceptUsersOf)],
  });
  const parts = { ...deps, app, refuse, methodsOf, polls, authentication, ways, identityProviders };
  app.get("/api/meta", () => ({
    owner: settings.serverOwner,
    version: settings.protocolVersion,
    transports: ["socket.io"],
  }));
  addLoginRoutes({ ...parts, signIns });
  const webSignIns = createWebSignIns(deps);
  const operatorLogin = createOperatorLogin({ ...parts, providers, webSignIns });
  addWebLogin({ ...parts, providers, signIns, webSignIns, operatorLogin });
  addBackchannelLogout({ ...parts, providers });
  addSessionRoutes(parts);
  addHintRoutes(parts);
  addPages(parts);
  const folder = deps.clientFolder;
  const assets = addClientAssets({ ...parts, ...(folder !== undefined && { folder }) });
  addClientPage({ ...parts, assets, offersPlugins: deps.clients !== undefined });
  const requireOperator = createRequireOperator({ ...parts, operatorLogin });
  addOperatorLogin({ ...parts, providers, webSignIns });
  addClientsRoutes({ ...parts, requireOperator });
  addMetricsRoute({ ...parts, requireOperator });
  addDashboardRoutes({ ...parts, requireOperator, operatorLogin });
  await app.ready();

  return {
    /** Handles all requests but those of sockets. */
    handle: (req: IncomingMessage, res: ServerResponse): void => app.routing(req, res),
    methodsOf,
    get waitingPolls(): number {
      return polls.waiting;
    },
    /** For a draining worker: waiting polls end, to be repeated by their clients, and later polls wait for one second only. */
    shortenPolls: (): void => polls.shorten(),
    /** Ends waiting polls, to be repeated by their clients; later polls do not wait. Other requests are served as before. */
    releasePolls: (): void => polls.close(),
    async close(): Promise<void> {
      polls.close();
      await app.close();
    },
  };
}

/** Most routes take no body and do not wait for one: Node discards it. The forms have parsers of their own (login.ts). */
function ignoreBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", (_request, _payload, done) => done(null, undefined));
}

/** Responds to a preflight, a wrong method or an unknown path. */
function handleNotFound(
  request: FastifyRequest,
  reply: FastifyReply,
  {
    methodsOf,
    origins,
    refuse,
  }: { readonly methodsOf: MethodsOf; readonly origins: Origins; readonly refuse: Refuse },
): FastifyReply {
  const methods = methodsOf(request.raw.url ?? "");
  // With a method of the route, the router has refused the path itself, as one with a parameter that is too long.
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
  readonly response: HttpResponse;
  /** A fault of this server, not of the client. */
  readonly isOurs: boolean;
}

function describeFailure(error: unknown): Failure {
  if (error instanceof StoreAwayError) {
    const response = infoResponse(503, "StoreAway", "The server is busy; please try again");
    return { reason: "store-away", response, isOurs: false };
  }
  const clientFailure = CLIENT_FAILURES.get(errorCode(error) ?? "");
  return clientFailure ?? { reason: "internal", response: INTERNAL, isOurs: true };
}

const INTERNAL = textResponse(500, "An internal server error occurred");

/** By the error codes of Fastify and of the socket. */
const CLIENT_FAILURES: ReadonlyMap<string, Failure> = new Map([
  ["FST_ERR_CTP_BODY_TOO_LARGE", clientFailure("body-size", 413, "The request body is too large")],
  [
    "FST_ERR_CTP_INVALID_CONTENT_LENGTH",
    clientFailure("body", 400, "The body does not match Content-Length"),
  ],
  [
    "FST_ERR_CTP_INVALID_MEDIA_TYPE",
    clientFailure("content-type", 415, "The content type is not supported"),
  ],
  // The client closed the connection before the end of its body.
  ["ECONNRESET", clientFailure("aborted", 400, "The request body is incomplete")],
  ["FST_ERR_CTP_INVALID_JSON_BODY", clientFailure("json", 400, "The body is not valid JSON")],
]);

function clientFailure(reason: string, status: number, text: string): Failure {
  return { reason, response: textResponse(status, text), isOurs: false };
}
