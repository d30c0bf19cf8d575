/**
 * Signing in and out over HTTP: a client begins and polls, a form finishes it, on any worker.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Log } from "../../shared/logs/log.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import { abortOf } from "../http/client-gone.ts";
import { CLEARED_TOKEN_COOKIE, tokenCookie } from "../http/cookies.ts";
import { parseJson } from "../http/json-bodies.ts";
import type { Origins } from "../http/origins.ts";
import {
  infoResponse,
  jsonResponse,
  type Refuse,
  replyWith,
  textResponse,
} from "../http/responses.ts";
import { isSignInToken, type SignInWay } from "../login/form-provider.ts";
import { readSignedIn, type SignIns } from "../login/sign-ins.ts";
import type { Tokens } from "../login/tokens.ts";
import type { Authentication } from "./authentication.ts";
import type { Polls } from "./polls.ts";

interface Needs {
  readonly app: FastifyInstance;
  readonly signIns: SignIns;
  readonly ways: readonly SignInWay[];
  readonly polls: Pick<Polls, "wait">;
  readonly tokens: Pick<Tokens, "signUser" | "revokeUser">;
  readonly authentication: Authentication;
  readonly origins: Pick<Origins, "trustsCookiesOf">;
  readonly refuse: Refuse;
  readonly counters: Counters;
  readonly log: Log;
}

const TIMED_OUT = infoResponse(400, "AuthTimeout", "Authentication timed out");

export function addLoginRoutes(needs: Needs): void {
  const { app, authentication, refuse, signIns, tokens } = needs;

  app.post("/api/login/initial", async () => {
    const pollToken = await signIns.begin();
    return {
      pollToken,
      auth: {
        // Clients resolve it against their base URL, path included, so it works behind any prefix.
        loginPageUrl: `/login.html?token=${pollToken}`,
        providers: needs.ways.map((way) => way.form),
        defaultSuccessUrl: "",
      },
    };
  });

  addPoll(needs);
  addForms(needs);

  app.post("/api/login/validate", async (request) => {
    return { valid: (await authentication.userOf(request.raw)) !== undefined };
  });

  // No HEAD: who only looks must not be signed out.
  app.get("/api/logout", { exposeHeadRoute: false }, async (request, reply) => {
    const caller = await authentication.userOf(request.raw);
    if (caller === undefined) {
      return refuse(reply, "logout", textResponse(400, "Nobody is signed in with this request"));
    }
    await tokens.revokeUser(caller);
    reply.header("set-cookie", CLEARED_TOKEN_COOKIE);
    return replyWith(reply, textResponse(200, "Logged out"));
  });
}

// --- the client's side ---

interface PollRoute {
  readonly Params: { readonly token: string };
  readonly Querystring: Readonly<Record<string, unknown>>;
}

function addPoll(needs: Needs): void {
  const { app, polls, refuse } = needs;
  app.post<PollRoute>("/api/login/poll/:token", async (request, reply) => {
    const { token } = request.params;
    if (!isSignInToken(token)) return refuse(reply, "login-token", TIMED_OUT);
    const aborted = abortOf(reply);
    const poll = await polls.wait("login", token, aborted);
    // Nobody would get what is handed out now.
    if (aborted.aborted) return reply.code(204).send();
    switch (poll.state) {
      case "gone":
        return refuse(reply, "login-token", TIMED_OUT);
      case "waiting":
        return reply.code(204).send();
      case "answered":
        return handOut(needs, { request, reply, token, answer: poll.ticket.answer });
    }
  });
}

/**
 * Signs the token and hands it out. The sign-in ends only when the answer has been written: a client that was gone by
 * then asks again, and gets a token of the same user. Two polls that wait at the same time both get one; the first may
 * be of a client that has gone unnoticed.
 */
async function handOut(
  needs: Needs,
  poll: {
    readonly request: FastifyRequest<PollRoute>;
    readonly reply: FastifyReply;
    readonly token: string;
    readonly answer: unknown;
  },
): Promise<FastifyReply> {
  const { request, reply } = poll;
  const user = readSignedIn(poll.answer);
  const loginToken = await needs.tokens.signUser(user);
  reply.raw.once("finish", () => {
    needs.signIns.end(poll.token).catch((error: unknown) => {
      needs.log.warn({ err: error }, "a sign-in that was picked up stays until it expires");
    });
  });
  const wantsCookie = Boolean(request.query["useCookie"]);
  // A page of somebody else could otherwise sign the browser's user in as another one (login CSRF).
  if (wantsCookie && needs.origins.trustsCookiesOf(request.raw)) {
    reply.header("set-cookie", tokenCookie(loginToken));
  }
  return replyWith(reply, jsonResponse(200, { loginToken }));
}

// --- the person's side ---

/** The forms' routes, the only ones that read a body. */
function addForms(needs: Needs): void {
  void needs.app.register(async (app) => {
    parseJson(app);
    for (const way of needs.ways) {
      app.post(way.form.endpoint, (request, reply) => takeForm(needs, way, request, reply));
    }
  });
}

async function takeForm(
  needs: Needs,
  way: SignInWay,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const form = way.read(request.body);
  if (form.outcome === "refused") {
    return needs.refuse(reply, `login-${form.reason}`, textResponse(form.status, form.message));
  }
  const outcome = await needs.signIns.finish(way, form);
  if (outcome === "gone") {
    const text = "This sign-in is unknown or has expired; please start it again in your editor";
    return needs.refuse(reply, "login-token", textResponse(400, text));
  }
  if (outcome === "done") needs.counters.count("worker.logins", way.name);
  return replyWith(reply, textResponse(200, "Ok"));
}
