/**
 * Sign-in at an identity provider. The person's browser comes with the link that a client shows, confirms that the sign-in is
 * its own, goes to the provider and comes back; the client, which polls, then gets its token (login.ts).
 */
import { randomBytes } from "node:crypto";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Clock } from "../../shared/base/clock.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import { isSameProof } from "../../shared/net/edge-headers.ts";
import type { Settings } from "../../shared/settings/read-settings.ts";
import { readCookie } from "../http/cookies.ts";
import { parseForms } from "../http/form-bodies.ts";
import { type Html, html } from "../http/html.ts";
import { type Origins, placeOf } from "../http/origins.ts";
import type { Refuse } from "../http/responses.ts";
import { replyWith } from "../http/responses.ts";
import { isSignInToken } from "../login/form-provider.ts";
import { readIdentity } from "../login/identity/identity.ts";
import type { ProviderClient } from "../login/identity/provider-client.ts";
import { ProviderError } from "../login/identity/provider-error.ts";
import type { SignInRecords } from "../login/identity/sign-in-records.ts";
import type { Taken, WebSignIns } from "../login/identity/web-sign-ins.ts";
import type { Asker, SignIns } from "../login/sign-ins.ts";
import {
  CANCELLED,
  EXPIRED,
  FAILED,
  FOREIGN_FORM,
  FOREIGN_REDIRECT,
  type Notice,
  notice,
  OTHER_BROWSER,
  page,
  signedIn,
  USED,
} from "./web-login-pages.ts";

interface Deps {
  readonly app: FastifyInstance;
  readonly providers: readonly ProviderClient[];
  readonly signIns: Pick<SignIns, "askerOf" | "finishAs">;
  readonly webSignIns: WebSignIns;
  readonly signInRecords: Pick<SignInRecords, "begin" | "forget">;
  readonly origins: Pick<Origins, "trustsCookiesOf" | "isSecure">;
  readonly settings: Pick<Settings, "serverUrl" | "loginSuccessUrl" | "loginRedirects">;
  readonly refuse: Refuse;
  readonly counters: Counters;
  readonly log: Log;
  readonly clock: Pick<Clock, "wallMs">;
}

type Query = Readonly<Record<string, unknown>>;
interface WebRoute {
  readonly Querystring: Query;
}

const COOKIE = "ct-sign-in";
const COOKIE_BYTES = 24;

export function addWebLogin(deps: Deps): void {
  void deps.app.register(async (app) => {
    parseForms(app);
    for (const client of deps.providers) {
      const path = `/api/login/${client.provider.id}`;
      // No HEAD: the response of a provider is good once.
      const only = { exposeHeadRoute: false };
      app.get<WebRoute>(path, only, (request, reply) => askPerson(deps, client, request, reply));
      app.post<WebRoute>(path, (request, reply) => sendToProvider(deps, client, request, reply));
      app.get<WebRoute>(`${path}-callback`, only, (request, reply) =>
        comeBack(deps, client, request, reply),
      );
    }
  });
}

// --- the person confirms ---

/**
 * A link to this page may have been sent by somebody who wants to be signed in as the person who follows it. So it says who
 * asks, and goes on only by a form that no other page can send.
 */
async function askPerson(
  deps: Deps,
  { provider }: ProviderClient,
  request: FastifyRequest<WebRoute>,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const token = textOf(request.query["token"]);
  const asker = isSignInToken(token) ? await deps.signIns.askerOf(token) : undefined;
  if (asker === undefined) return refuse(deps, reply, "login-token", EXPIRED);
  const isSecure = deps.origins.isSecure(request.raw);
  const browser = browserOf(deps, request) ?? randomBytes(COOKIE_BYTES).toString("base64url");
  const attributes = `Path=/; HttpOnly; SameSite=Lax${isSecure ? "; Secure" : ""}`;
  reply.header("set-cookie", `${cookieName(isSecure)}=${browser}; ${attributes}`);
  const { label } = provider;
  const redirect = readRedirect(deps, request.query);
  if (redirect === undefined) return refuse(deps, reply, "login-redirect", FOREIGN_REDIRECT);
  const action = new URLSearchParams({ token, ...(redirect !== "" && { redirect }) });
  return replyWith(
    reply,
    page(deps, 200, "Is this your sign-in?", [
      html`<p>${describe(asker, deps.clock.wallMs())}</p>`,
      html`<p><strong>Go on only if you just clicked “Sign in” there yourself.</strong> If somebody sent you this link, they
would be signed in as you.</p>`,
      html`<form method="post" action="?${action.toString()}">
<input type="hidden" name="csrf" value="${browser}">
<button type="submit" name="answer" value="no" autofocus>Cancel</button>
<button type="submit" name="answer" value="yes" class="second">Sign in with ${label}</button>
</form>`,
    ]),
  );
}

function describe({ client, address, atMs }: Asker, nowMs: number): Html {
  const program = client === "" ? "A program" : client;
  if (address === "") return html`${program} wants to be signed in as you.`;
  const agoS = Math.max(0, Math.round((nowMs - atMs) / 1000));
  const ago = agoS < 90 ? `${agoS} seconds` : `${Math.round(agoS / 60)} minutes`;
  return html`<strong>${program}</strong> at the address <strong>${address}</strong> began to sign in ${ago} ago.`;
}

async function sendToProvider(
  deps: Deps,
  client: ProviderClient,
  request: FastifyRequest<WebRoute>,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const form: ReadonlyMap<unknown, unknown> =
    request.body instanceof Map ? request.body : new Map();
  const browser = browserOf(deps, request);
  const isOwnForm = browser !== undefined && isSameProof(textOf(form.get("csrf")), browser);
  if (!isOwnForm || !deps.origins.trustsCookiesOf(request.raw)) {
    return refuse(deps, reply, "login-csrf", FOREIGN_FORM);
  }
  const token = textOf(request.query["token"]);
  if (textOf(form.get("answer")) !== "yes") return replyWith(reply, notice(deps, CANCELLED));
  if (!isSignInToken(token) || (await deps.signIns.askerOf(token)) === undefined) {
    return refuse(deps, reply, "login-token", EXPIRED);
  }
  const redirect = readRedirect(deps, request.query);
  if (redirect === undefined) return refuse(deps, reply, "login-redirect", FOREIGN_REDIRECT);
  const { baseUrl } = placeOf(request.raw, deps.settings.serverUrl);
  const redirectUri = `${baseUrl}/api/login/${client.provider.id}-callback`;
  let url: string;
  try {
    url = await deps.webSignIns.begin(client, { token, redirectUri, browser, redirect });
  } catch (error) {
    return failed(deps, client, reply, error);
  }
  // Not a redirect: the policy of this page would forbid that to a form's response.
  const { label } = client.provider;
  const body = [html`<p><a href="${url}">Go on to ${label}</a></p>`];
  return replyWith(reply, page(deps, 200, `Going to ${label}…`, body, url));
}

// --- the person comes back ---

async function comeBack(
  deps: Deps,
  client: ProviderClient,
  request: FastifyRequest<WebRoute>,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const state = textOf(request.query["state"]);
  const taken = await deps.webSignIns.take({ state, browser: browserOf(deps, request) });
  if (taken === "gone") return refuse(deps, reply, "login-state", EXPIRED);
  if (taken === "used") return refuse(deps, reply, "login-state", USED);
  if (taken === "foreign") return refuse(deps, reply, "login-browser", OTHER_BROWSER);
  // A response of one provider in place of another's (RFC 9207).
  if (taken.provider !== client.provider.id) return refuse(deps, reply, "login-state", EXPIRED);
  try {
    return await signInAs(deps, client, taken, request, reply);
  } catch (error) {
    return failed(deps, client, reply, error);
  }
}

async function signInAs(
  deps: Deps,
  client: ProviderClient,
  taken: Taken,
  request: FastifyRequest<WebRoute>,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { provider } = client;
  const query = new URL(request.url, "http://edge").searchParams;
  const answer = await client.finish({ ...taken, query });
  const identity = readIdentity(provider, answer.issuer, answer.claims);
  if (identity.outcome === "refused") {
    const { reason, message } = identity;
    deps.log.info({ provider: provider.id, reason }, "a person was not signed in");
    return refuse(deps, reply, `login-${reason.replaceAll(" ", "-")}`, {
      status: 403,
      title: "Not signed in",
      text: message,
    });
  }
  const { user, subject } = identity;
  const signIn = await deps.signInRecords.begin(provider.id, user, { ...answer, subject });
  const outcome = await deps.signIns.finishAs(taken.token, { ...user, signIn });
  if (outcome !== "done") await deps.signInRecords.forget(signIn);
  if (outcome === "gone") return refuse(deps, reply, "login-token", EXPIRED);
  if (outcome === "done") deps.counters.count("worker.logins", provider.id);
  const next = nextAfter(deps, taken);
  if (next !== undefined) return reply.redirect(next, 302);
  return replyWith(reply, notice(deps, signedIn(user.name)));
}

/** Where the browser goes instead of the page that says that it is signed in. */
function nextAfter({ settings }: Deps, { redirect, token }: Taken): string | undefined {
  if (redirect === "") return settings.loginSuccessUrl;
  const url = new URL(redirect);
  url.searchParams.set("token", token);
  return url.href;
}

/**
 * Where a client wants the browser to go afterwards; empty: nowhere, undefined: an address that is not allowed. Origin and path
 * are compared: a query is up to the client.
 */
function readRedirect({ settings }: Pick<Deps, "settings">, query: Query): string | undefined {
  const redirect = textOf(query["redirect"]);
  if (redirect === "") return redirect;
  if (!URL.canParse(redirect)) return undefined;
  const { origin, pathname } = new URL(redirect);
  const isAllowed = settings.loginRedirects.some((allowed) => {
    if (!URL.canParse(allowed)) return false;
    const known = new URL(allowed);
    return known.origin === origin && known.pathname === pathname;
  });
  return isAllowed ? redirect : undefined;
}

function failed(
  deps: Deps,
  { provider }: ProviderClient,
  reply: FastifyReply,
  error: unknown,
): FastifyReply {
  if (!(error instanceof ProviderError)) throw error;
  const { problem } = error;
  const detail = { provider: provider.id, problem, reason: error.message };
  if (problem === "denied") deps.log.info(detail, "a sign-in was refused by its identity provider");
  else deps.log.warn(detail, "a sign-in failed at its identity provider");
  return refuse(deps, reply, `login-provider-${problem}`, FAILED[problem](provider.label));
}

function refuse(
  { refuse: send, ...deps }: Deps,
  reply: FastifyReply,
  reason: string,
  what: Notice,
): FastifyReply {
  return send(reply, reason, notice(deps, what));
}

// --- the browser's half ---

/** With the prefix, no other host can set it (RFC 6265bis §4.1.3.2). */
function cookieName(isSecure: boolean): string {
  return isSecure ? `__Host-${COOKIE}` : COOKIE;
}

function browserOf(
  { origins }: Pick<Deps, "origins">,
  { raw }: FastifyRequest<WebRoute>,
): string | undefined {
  const value = readCookie(raw.headers.cookie, cookieName(origins.isSecure(raw)));
  return value !== undefined && /^[\w-]{32}$/.test(value) ? value : undefined;
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}
