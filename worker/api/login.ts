/** Sign-in and sign-out over HTTP: a client begins a sign-in and polls for it, and a form, sent to any worker, completes it. */
import type { IncomingMessage } from "node:http";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Clock } from "../../shared/base/clock.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import type { IdentityProvider } from "../../shared/settings/identity-providers.ts";
import type { Settings } from "../../shared/settings/read-settings.ts";
import { userParty } from "../activity/parties.ts";
import type { Activity } from "../activity/recorder.ts";
import { parseJson } from "../http/bodies.ts";
import { CLEARED_TOKEN_COOKIE, tokenCookie } from "../http/cookies.ts";
import type { Origins } from "../http/origins.ts";
import {
  abortOf,
  infoResponse,
  jsonResponse,
  type Refuse,
  replyWith,
  textResponse,
} from "../http/responses.ts";
import {
  info,
  isSignInToken,
  type SignInWay,
  THIRD_PARTY,
  type WebProvider,
} from "../login/form-provider.ts";
import { readSignedIn, type SignIns } from "../login/sign-ins.ts";
import type { Tokens } from "../login/tokens.ts";
import { addressOf } from "../operators/require-operator.ts";
import type { Authentication } from "./authentication.ts";
import type { Polls } from "./long-polls.ts";

interface Deps {
  readonly app: FastifyInstance;
  readonly signIns: SignIns;
  readonly ways: readonly SignInWay[];
  readonly identityProviders: readonly Pick<IdentityProvider, "id" | "label">[];
  readonly settings: Pick<Settings, "loginPageUrl" | "loginSuccessUrl">;
  readonly clock: Pick<Clock, "wallMs">;
  readonly polls: Pick<Polls, "wait">;
  readonly tokens: Pick<Tokens, "signUser" | "revokeUser">;
  readonly authentication: Authentication;
  readonly origins: Pick<Origins, "trustsCookiesOf">;
  readonly refuse: Refuse;
  readonly counters: Counters;
  readonly activity: Pick<Activity, "record">;
  readonly log: Log;
}

const TIMED_OUT = infoResponse(400, "AuthTimeout", "Authentication timed out");

export function addLoginRoutes(deps: Deps): void {
  const { app, authentication, refuse, settings, signIns, tokens } = deps;

  app.post("/api/login/initial", async ({ raw }) => {
    const pollToken = await signIns.begin({
      client: clientOf(raw),
      address: addressOf(raw),
      atMs: deps.clock.wallMs(),
    });
    return {
      pollToken,
      auth: {
        // Clients resolve it against their base URL, path included, so it works below any prefix.
        loginPageUrl: `${settings.loginPageUrl ?? "/login.html"}?token=${pollToken}`,
        providers: [
          ...deps.identityProviders.map(describeProvider),
          ...deps.ways.map(({ form }) => form),
        ],
        defaultSuccessUrl: settings.loginSuccessUrl ?? "",
      },
    };
  });

  addPoll(deps);
  addForms(deps);

  app.post("/api/login/validate", async (request) => {
    return { valid: (await authentication.userOf(request.raw)) !== undefined };
  });

  // No HEAD: a safe method must not sign anyone out.
  app.get("/api/logout", { exposeHeadRoute: false }, async (request, reply) => {
    const caller = await authentication.userOf(request.raw);
    if (caller === undefined) {
      return refuse(reply, "logout", textResponse(400, "The request is not signed in"));
    }
    await tokens.revokeUser(caller);
    deps.activity.record({
      ...{ kind: "sign-in.ended", details: { cause: "signed out" } },
      actor: userParty(caller.user, { address: addressOf(request.raw) }),
    });
    reply.header("set-cookie", CLEARED_TOKEN_COOKIE);
    return replyWith(reply, textResponse(200, "Logged out"));
  });
}

function describeProvider({ id, label }: Pick<IdentityProvider, "id" | "label">): WebProvider {
  return {
    type: "web",
    name: id,
    endpoint: `/api/login/${id}`,
    group: THIRD_PARTY,
    label: info("IdentityProviderLabel", label),
    details: info("IdentityProviderDetails", `Sign in with ${label} in your browser`),
  };
}

/** What a client says of itself, for the person who is asked about it; shown, so in plain words only. */
function clientOf({ headers }: Pick<IncomingMessage, "headers">): string {
  const agent = headers["user-agent"] ?? "";
  if (/Mozilla\//.test(agent)) return "A browser";
  return /^[\x20-\x7e]{1,80}$/.test(agent) ? `A program (${agent})` : "A program";
}

// --- the client polls ---

interface PollRoute {
  readonly Params: { readonly token: string };
  readonly Querystring: Readonly<Record<string, unknown>>;
}

function addPoll(deps: Deps): void {
  const { app, polls, refuse } = deps;
  app.post<PollRoute>("/api/login/poll/:token", async (request, reply) => {
    const { token } = request.params;
    if (!isSignInToken(token)) return refuse(reply, "login-token", TIMED_OUT);
    const aborted = abortOf(reply);
    const poll = await polls.wait("login", token, aborted);
    // The client is gone: a token that is issued now would be lost.
    if (aborted.aborted) return reply.code(204).send();
    switch (poll.state) {
      case "gone":
        return refuse(reply, "login-token", TIMED_OUT);
      case "waiting":
        return reply.code(204).send();
      case "answered":
        return issueToken(deps, { request, reply, token, answer: poll.ticket.answer });
    }
  });
}

/**
 * Signs the user token and sends it. The sign-in ends only when the response has been written: a client that was gone by then
 * polls again, and gets a token of the same user. Two polls that wait at the same time both get one, because the first may be
 * of a client whose connection has broken unnoticed.
 */
async function issueToken(
  deps: Deps,
  poll: {
    readonly request: FastifyRequest<PollRoute>;
    readonly reply: FastifyReply;
    readonly token: string;
    readonly answer: unknown;
  },
): Promise<FastifyReply> {
  const { request, reply } = poll;
  const user = readSignedIn(poll.answer);
  const loginToken = await deps.tokens.signUser(user);
  reply.raw.once("finish", () => {
    deps.signIns.end(poll.token).catch((error: unknown) => {
      deps.log.warn(
        { err: error },
        "a completed sign-in could not be removed; it stays in the store until it expires",
      );
    });
  });
  const wantsCookie = Boolean(request.query["useCookie"]);
  // A page of a foreign origin could otherwise sign the browser's user in as someone else (login CSRF).
  if (wantsCookie && deps.origins.trustsCookiesOf(request.raw)) {
    reply.header("set-cookie", tokenCookie(loginToken));
  }
  return replyWith(reply, jsonResponse(200, { loginToken }));
}

// --- the user submits a form ---

/** The only routes that read a body. */
function addForms(deps: Deps): void {
  void deps.app.register(async (app) => {
    parseJson(app);
    for (const way of deps.ways) {
      app.post(way.form.endpoint, (request, reply) => submitForm(deps, way, request, reply));
    }
  });
}

async function submitForm(
  deps: Deps,
  way: SignInWay,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const form = way.read(request.body);
  const origin = { address: addressOf(request.raw) };
  if (form.outcome === "refused") {
    deps.activity.record({
      ...{ kind: "sign-in.refused", actor: { type: "user", way: way.name, ...origin } },
      details: { cause: form.reason },
    });
    return deps.refuse(reply, `login-${form.reason}`, textResponse(form.status, form.message));
  }
  const { outcome, user } = await deps.signIns.finish(way, form);
  if (outcome === "gone") {
    const text = "This sign-in has expired or does not exist; start it again in your editor";
    return deps.refuse(reply, "login-token", textResponse(400, text));
  }
  if (outcome === "done") {
    deps.counters.count("worker.logins", way.name);
    deps.activity.record({ kind: "sign-in", actor: userParty(user, origin) });
  }
  return replyWith(reply, textResponse(200, "Ok"));
}
