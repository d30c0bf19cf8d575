/**
 * Sign-in at an identity provider. The person's browser comes with the link that a client shows, confirms that the sign-in is
 * its own, goes to the provider and comes back; the client, which polls, then gets its token (login.ts).
 */

import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Clock } from "../../shared/base/clock.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import type { Settings } from "../../shared/settings/read-settings.ts";
import { userParty } from "../activity/parties.ts";
import type { Activity } from "../activity/recorder.ts";
import { formOf, parseForms } from "../http/bodies.ts";
import { type Html, html } from "../http/html.ts";
import type { Origins } from "../http/origins.ts";
import type { Refuse } from "../http/responses.ts";
import { replyWith } from "../http/responses.ts";
import { isSignInToken } from "../login/form-provider.ts";
import { groupsOf, readIdentity } from "../login/identity/identity.ts";
import type { ProviderClient, SignedIn } from "../login/identity/provider-client.ts";
import type { SignInRecords } from "../login/identity/sign-in-records.ts";
import type { Taken, WebSignIns } from "../login/identity/web-sign-ins.ts";
import type { Asker, SignIns } from "../login/sign-ins.ts";
import { addressOf } from "../operators/require-operator.ts";
import { browserOf, browserOfForm, nameBrowser } from "./browser-cookie.ts";
import type { OperatorLogin } from "./operator-login.ts";
import {
  CANCELLED,
  EXPIRED,
  FOREIGN_FORM,
  FOREIGN_REDIRECT,
  notice,
  OTHER_BROWSER,
  page,
  signedIn,
  USED,
} from "./web-login-pages.ts";
import { failed, refusePerson, refuseWith, sendOn } from "./web-login-steps.ts";

interface Deps {
  readonly app: FastifyInstance;
  readonly providers: readonly ProviderClient[];
  readonly signIns: Pick<SignIns, "askerOf" | "finishAs">;
  readonly webSignIns: WebSignIns;
  readonly signInRecords: Pick<SignInRecords, "begin" | "forget">;
  readonly origins: Pick<Origins, "trustsCookiesOf" | "isSecure">;
  readonly settings: Pick<Settings, "serverUrl" | "loginSuccessUrl" | "loginRedirects">;
  readonly refuse: Refuse;
  readonly operatorLogin: Pick<OperatorLogin, "signIn">;
  readonly counters: Counters;
  readonly activity: Pick<Activity, "record">;
  readonly log: Log;
  readonly clock: Pick<Clock, "wallMs">;
}

type Query = Readonly<Record<string, unknown>>;
interface WebRoute {
  readonly Querystring: Query;
}

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
  if (asker === undefined) return refuseWith(deps, reply, "login-token", EXPIRED);
  const browser = nameBrowser(deps, request, reply);
  const { label } = provider;
  const redirect = readRedirect(deps, request.query);
  if (redirect === undefined) return refuseWith(deps, reply, "login-redirect", FOREIGN_REDIRECT);
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
  const browser = browserOfForm(deps, request);
  if (browser === undefined) return refuseWith(deps, reply, "login-csrf", FOREIGN_FORM);
  const token = textOf(request.query["token"]);
  if (formOf(request).get("answer") !== "yes") return replyWith(reply, notice(deps, CANCELLED));
  if (!isSignInToken(token) || (await deps.signIns.askerOf(token)) === undefined) {
    return refuseWith(deps, reply, "login-token", EXPIRED);
  }
  const redirect = readRedirect(deps, request.query);
  if (redirect === undefined) return refuseWith(deps, reply, "login-redirect", FOREIGN_REDIRECT);
  return sendOn(deps, client, { request, reply }, { token, browser, redirect, purpose: "client" });
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
  if (taken === "gone") return refuseWith(deps, reply, "login-state", EXPIRED);
  if (taken === "used") return refuseWith(deps, reply, "login-state", USED);
  if (taken === "foreign") return refuseWith(deps, reply, "login-browser", OTHER_BROWSER);
  // A response of one provider in place of another's (RFC 9207).
  if (taken.provider !== client.provider.id) return refuseWith(deps, reply, "login-state", EXPIRED);
  const query = new URL(request.url, "http://edge").searchParams;
  try {
    const answer = await client.finish({ ...taken, query });
    return taken.purpose === "operator"
      ? await deps.operatorLogin.signIn(client, answer, { request, reply })
      : await signInAs(deps, client, taken, answer, reply);
  } catch (error) {
    return failed(deps, client, reply, error);
  }
}

async function signInAs(
  deps: Deps,
  client: ProviderClient,
  taken: Taken,
  answer: SignedIn,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { provider } = client;
  const identity = readIdentity(provider, answer.issuer, answer.claims);
  if (identity.outcome === "refused") return refusePerson(deps, provider.id, identity, reply);
  const { user, subject } = identity;
  const groups = groupsOf(provider, answer.claims);
  const signIn = await deps.signInRecords.begin(provider.id, user, { ...answer, subject, groups });
  const outcome = await deps.signIns.finishAs(taken.token, { ...user, signIn });
  if (outcome !== "done") await deps.signInRecords.forget(signIn);
  if (outcome === "gone") return refuseWith(deps, reply, "login-token", EXPIRED);
  if (outcome === "done") {
    deps.counters.count("worker.logins", provider.id);
    const address = addressOf(reply.request.raw);
    deps.activity.record({ kind: "sign-in", actor: userParty(user, { address }) });
  }
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

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}
