/**
 * Operators sign in to the dashboard at an identity provider, if `CT_DASHBOARD_GROUPS` says what its groups may do. The password
 * of the settings stays beside it.
 */
import type { IncomingMessage } from "node:http";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Log } from "../../shared/logs/log.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import { readCookie } from "../../shared/net/cookies.ts";
import { PERMISSIONS_OF, type RoleGroups, roleOf } from "../../shared/settings/operator-roles.ts";
import type { Settings } from "../../shared/settings/read-settings.ts";
import { endSignIn } from "../../shared/sign-ins/sign-in.ts";
import type { Store } from "../../shared/store/store.ts";
import { userParty } from "../activity/parties.ts";
import type { Activity } from "../activity/recorder.ts";
import { parseForms } from "../http/bodies.ts";
import { sessionCookie } from "../http/cookies.ts";
import { html } from "../http/html.ts";
import { type Origins, placeOf } from "../http/origins.ts";
import { type Refuse, replyWith } from "../http/responses.ts";
import { groupsOf, noGroups, readPerson } from "../login/identity/identity.ts";
import type { ProviderClient, SignedIn } from "../login/identity/provider-client.ts";
import type { SignInRecords } from "../login/identity/sign-in-records.ts";
import type { WebSignIns } from "../login/identity/web-sign-ins.ts";
import type { Tokens } from "../login/tokens.ts";
import type { Operator } from "../operators/operator.ts";
import { addressOf } from "../operators/require-operator.ts";
import { browserOfForm, nameBrowser } from "./browser-cookie.ts";
import { FOREIGN_OPERATOR_FORM, notice, page } from "./web-login-pages.ts";
import { refusePerson, sendOn } from "./web-login-steps.ts";

export type OperatorLogin = ReturnType<typeof createOperatorLogin>;

interface Exchange {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

export interface OperatorLoginDeps {
  readonly providers: readonly ProviderClient[];
  /** Its id; undefined: operators do not sign in at one. */
  readonly operatorProvider: string | undefined;
  readonly operatorRoles: RoleGroups | undefined;
  readonly tokens: Pick<Tokens, "signOperator" | "verifyOperator">;
  readonly store: Pick<Store, "endSignIn" | "appendToStream">;
  readonly signInRecords: Pick<SignInRecords, "begin">;
  readonly webSignIns: WebSignIns;
  readonly origins: Pick<Origins, "isSecure" | "trustsCookiesOf">;
  readonly settings: Pick<Settings, "serverUrl">;
  readonly refuse: Refuse;
  readonly counters: Counters;
  readonly activity: Pick<Activity, "record">;
  readonly log: Log;
}

const COOKIE = "ct-operator";
const PATH = "/dashboard/sign-in";

export function createOperatorLogin(deps: OperatorLoginDeps) {
  const { operatorRoles: roles, tokens, origins, settings } = deps;
  const provider = providerOf(deps);

  function cookieOf(req: IncomingMessage) {
    return sessionCookie(COOKIE, origins.isSecure(req));
  }

  return {
    /** The operator that a browser's cookie names. */
    async operatorOf(req: IncomingMessage): Promise<Operator | undefined> {
      if (roles === undefined) return undefined;
      if (!origins.trustsCookiesOf(req) && !isOpened(req)) return undefined;
      const token = readCookie(req.headers.cookie, cookieOf(req).name);
      const verified = token === undefined ? undefined : await tokens.verifyOperator(token);
      if (verified === undefined) return undefined;
      // The groups of another provider, before the settings were changed.
      if (verified.provider !== provider?.provider.id) return undefined;
      const { name, role, signIn, untilMs } = verified;
      const permissions = PERMISSIONS_OF[role];
      return { name, way: "provider", permissions, signIn: { id: signIn, untilMs } };
    },
    /** Where browsers sign in; undefined: only with the password. */
    pageOf: (req: IncomingMessage) =>
      provider === undefined ? undefined : `${placeOf(req, settings.serverUrl).baseUrl}${PATH}`,
    /** Finishes the sign-in of somebody who came back from the provider. Rejects as `SignInRecords.begin` does. */
    async signIn(
      client: ProviderClient,
      answer: SignedIn,
      { request, reply }: Exchange,
    ): Promise<FastifyReply> {
      const { provider: from } = client;
      const person = readPerson(from, answer.issuer, answer.claims);
      if (person.outcome === "refused") return refusePerson(deps, from.id, person, reply);
      const groups = groupsOf(from, answer.claims);
      if (groups === undefined) return refusePerson(deps, from.id, noGroups(from), reply);
      const role = client === provider ? roleOf(roles ?? {}, groups) : undefined;
      if (role === undefined) {
        const message =
          "You are signed in, but in no group that may see the dashboard. Contact your administrator.";
        const refused = { outcome: "refused", reason: "role", message } as const;
        return refusePerson(deps, from.id, refused, reply);
      }
      const { user, subject } = person;
      const signIn = await deps.signInRecords.begin(from.id, user, { ...answer, subject }, role);
      const token = await tokens.signOperator({
        ...{ id: user.id, name: user.name },
        ...{ role, signIn, provider: from.id },
      });
      deps.counters.count("worker.operator_logins", role);
      deps.log.info({ operator: user.name, role, provider: from.id }, "an operator has signed in");
      const address = addressOf(request.raw);
      const actor = { ...userParty(user, { address }), type: "operator" } as const;
      deps.activity.record({ kind: "operator.sign-in", actor, details: { role } });
      reply.header("set-cookie", cookieOf(request.raw).set(token));
      return reply.redirect("../../dashboard/", 302);
    },
    /** Ends the operator's sign-in, and returns the header that deletes the cookie. Rejects with `StoreAwayError`. */
    async signOut({ signIn }: Operator, req: IncomingMessage): Promise<string> {
      // Other tabs are told too.
      if (signIn !== undefined) {
        await endSignIn(deps.store, signIn, "signed out", "You have signed out.");
        deps.counters.count("worker.sign_ins.ended", "signed out");
      }
      return cookieOf(req).cleared;
    },
  };
}

/** A page that is opened by a link, on any page, or by the redirect from the provider: it shows, and does nothing. */
function isOpened({ method, headers }: IncomingMessage): boolean {
  return (
    method === "GET" &&
    headers["sec-fetch-mode"] === "navigate" &&
    headers["sec-fetch-dest"] === "document"
  );
}

function providerOf({
  providers,
  operatorProvider,
}: Pick<OperatorLoginDeps, "providers" | "operatorProvider">) {
  return providers.find(({ provider }) => provider.id === operatorProvider);
}

/** Without a sign-in at a provider the page does not exist. */
export function addOperatorLogin(
  deps: OperatorLoginDeps & { readonly app: FastifyInstance },
): void {
  const client = providerOf(deps);
  if (client === undefined) return;
  const { label } = client.provider;
  void deps.app.register(async (app) => {
    parseForms(app);
    app.get(PATH, { exposeHeadRoute: false }, (request, reply) => {
      const browser = nameBrowser(deps, request, reply);
      const body = [
        html`<form method="post" action="sign-in">
<input type="hidden" name="csrf" value="${browser}">
<button type="submit" autofocus>Sign in with ${label}</button>
</form>`,
        html`<p><a href="password">Use the password of the settings instead</a></p>`,
      ];
      return replyWith(reply, page(deps, 200, "Sign in to the dashboard", body, { root: "../" }));
    });
    app.post(PATH, (request, reply) => {
      const browser = browserOfForm(deps, request);
      if (browser === undefined) {
        return deps.refuse(reply, "login-csrf", notice(deps, FOREIGN_OPERATOR_FORM, "../"));
      }
      const what = { purpose: "operator", token: "", redirect: "", browser, root: "../" } as const;
      return sendOn(deps, client, { request, reply }, what);
    });
  });
}
