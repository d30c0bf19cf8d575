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
import { pageHeaders } from "../http/pages.ts";
import type { HttpResponse, Refuse } from "../http/responses.ts";
import { replyWith } from "../http/responses.ts";
import { isSignInToken } from "../login/form-provider.ts";
import { readIdentity } from "../login/identity/identity.ts";
import { type ProviderClient, ProviderError } from "../login/identity/provider-client.ts";
import type { Taken, WebSignIns } from "../login/identity/web-sign-ins.ts";
import type { Asker, SignIns } from "../login/sign-ins.ts";

interface Deps {
  readonly app: FastifyInstance;
  readonly providers: readonly ProviderClient[];
  readonly signIns: Pick<SignIns, "askerOf" | "finishAs">;
  readonly webSignIns: WebSignIns;
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
  const { issuer, claims } = await client.finish({ ...taken, query });
  const identity = readIdentity(provider, issuer, claims);
  if (identity.outcome === "refused") {
    const { reason, message } = identity;
    deps.log.info({ provider: provider.id, reason }, "a person was not signed in");
    return refuse(deps, reply, `login-${reason.replaceAll(" ", "-")}`, {
      status: 403,
      title: "Not signed in",
      text: message,
    });
  }
  const outcome = await deps.signIns.finishAs(taken.token, identity.user);
  if (outcome === "gone") return refuse(deps, reply, "login-token", EXPIRED);
  if (outcome === "done") deps.counters.count("worker.logins", provider.id);
  const next = nextAfter(deps, taken);
  if (next !== undefined) return reply.redirect(next, 302);
  return replyWith(reply, notice(deps, signedIn(identity.user.name)));
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

// --- pages ---

interface Notice {
  readonly status: number;
  readonly title: string;
  readonly text: string;
}

const EXPIRED: Notice = {
  status: 400,
  title: "This sign-in is over",
  text: "It has expired, or is complete already. Start it again where you clicked “Sign in”.",
};
const USED: Notice = {
  status: 400,
  title: "You have been here before",
  text: "This page works once. If you are not signed in yet, start again where you clicked “Sign in”.",
};
const OTHER_BROWSER: Notice = {
  status: 400,
  title: "This sign-in began in another browser",
  text: "Finish it there, or start it again. If somebody sent you this link, do nothing.",
};
const FOREIGN_FORM: Notice = {
  status: 403,
  title: "Not signed in",
  text: "This request did not come from the sign-in page, or your browser refuses its cookie. Open the link of your editor again.",
};
const FOREIGN_REDIRECT: Notice = {
  status: 400,
  title: "Not signed in",
  text: "The page that sent you here wants you to return to an address that this server does not know. Its operator can add it to CT_LOGIN_REDIRECTS.",
};
const CANCELLED: Notice = {
  status: 200,
  title: "Cancelled",
  text: "Nobody was signed in. You can close this page.",
};

const FAILED: Readonly<Record<ProviderError["problem"], (label: string) => Notice>> = {
  denied: (label) => ({
    status: 403,
    title: "Not signed in",
    text: `${label} did not sign you in. You can close this page, or start again where you clicked “Sign in”.`,
  }),
  unreachable: (label) => ({
    status: 502,
    title: "Not signed in",
    text: `${label} does not respond as it should. Try again in a moment; if it stays so, contact your administrator.`,
  }),
  invalid: (label) => ({
    status: 502,
    title: "Not signed in",
    text: `What ${label} sent could not be verified. Start again where you clicked “Sign in”; if it stays so, contact your administrator.`,
  }),
};

function signedIn(name: string): Notice {
  return {
    status: 200,
    title: "You are signed in",
    text: `Welcome, ${name}. You can close this page and go back to your editor.`,
  };
}

function refuse(
  { refuse: send, ...deps }: Deps,
  reply: FastifyReply,
  reason: string,
  what: Notice,
): FastifyReply {
  return send(reply, reason, notice(deps, what));
}

function notice(deps: Pick<Deps, "settings">, { status, title, text }: Notice): HttpResponse {
  return page(deps, status, title, [html`<p>${text}</p>`]);
}

/** `next`: where the browser goes at once. Links are relative, because the page may be served below a path. */
function page(
  { settings }: Pick<Deps, "settings">,
  status: number,
  title: string,
  parts: readonly Html[],
  next?: string,
): HttpResponse {
  const body = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
${next !== undefined && html`<meta http-equiv="refresh" content="0;url=${next}">`}
<title>${title} · CodeTogether</title>
<link rel="icon" href="../../login.svg" type="image/svg+xml">
<link rel="stylesheet" href="../../login.css">
</head>
<body>
<main>
<h1>${title}</h1>
${parts}
</main>
</body>
</html>
`.text;
  return {
    status,
    fields: {
      ...pageHeaders(settings),
      // Without a referrer browsers would send its form with `Origin: null`. Other origins still see none of the URL.
      "referrer-policy": "same-origin",
      "content-type": "text/html; charset=utf-8",
    },
    body,
  };
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
