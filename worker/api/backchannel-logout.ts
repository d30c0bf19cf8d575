/**
 * Back-channel logout (OpenID Connect Back-Channel Logout 1.0 §2.5): an identity provider says that a person has signed out there,
 * and the sign-ins that came of it end.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Log } from "../../shared/logs/log.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import {
  endSignIn,
  findSignIns,
  providerSessionKey,
  userKey,
} from "../../shared/sign-ins/sign-in.ts";
import type { Store } from "../../shared/store/store.ts";
import { formOf, parseForms } from "../http/bodies.ts";
import { jsonResponse, type Refuse, replyWith } from "../http/responses.ts";
import { userIdOf } from "../login/identity/identity.ts";
import type { LoggedOut } from "../login/identity/logout-token.ts";
import type { ProviderClient } from "../login/identity/provider-client.ts";
import { ProviderError } from "../login/identity/provider-error.ts";
import { CLOCK_SKEW_MS } from "../login/tokens.ts";

interface Deps {
  readonly app: FastifyInstance;
  readonly providers: readonly ProviderClient[];
  readonly store: Pick<Store, "findSignIns" | "endSignIn" | "appendToStream">;
  readonly refuse: Refuse;
  readonly counters: Counters;
  readonly log: Log;
}

export function addBackchannelLogout(deps: Deps): void {
  void deps.app.register(async (app) => {
    parseForms(app);
    for (const client of deps.providers) {
      if (client.provider.type !== "oidc") continue;
      const path = `/api/login/${client.provider.id}-logout`;
      app.post(path, (request, reply) => logOut(deps, client, request, reply));
    }
  });
}

async function logOut(
  deps: Deps,
  client: ProviderClient,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { id, label } = client.provider;
  const token = formOf(request).get("logout_token");
  let loggedOut: LoggedOut;
  try {
    loggedOut = await client.readLogout(typeof token === "string" ? token : "");
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error;
    deps.log.warn({ provider: id, reason: error.message }, "a back-channel logout was refused");
    const answer = { error: "invalid_request", error_description: error.message };
    // With 503 the provider tries again.
    const status = error.problem === "unreachable" ? 503 : 400;
    return deps.refuse(reply, "logout-token", jsonResponse(status, answer));
  }
  const ended = (await signInsOf(deps, loggedOut)).filter(
    ({ begunMs }) => begunMs <= loggedOut.atMs + CLOCK_SKEW_MS,
  );
  const message = `You have signed out of ${label}, or were signed out there.`;
  for (const signIn of ended) await endSignIn(deps.store, signIn, "provider", message);
  deps.counters.count("worker.sign_ins.ended", "provider", ended.length);
  deps.log.info(
    { provider: id, signIns: ended.length },
    "an identity provider has signed a person out",
  );
  return replyWith(reply, jsonResponse(200, {}));
}

/** With the session's name, those of that session only: other devices stay signed in. */
function signInsOf({ store }: Deps, { issuer, subject, providerSession }: LoggedOut) {
  if (providerSession !== undefined) {
    return findSignIns(store, [providerSessionKey(issuer, providerSession)]);
  }
  return findSignIns(store, subject === undefined ? [] : [userKey(userIdOf(issuer, subject))]);
}
