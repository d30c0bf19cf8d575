/** The steps that the sign-ins of people and of operators at an identity provider have in common. */
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Log } from "../../shared/logs/log.ts";
import type { Settings } from "../../shared/settings/read-settings.ts";
import type { Activity } from "../activity/recorder.ts";
import { html } from "../http/html.ts";
import { placeOf } from "../http/origins.ts";
import { type Refuse, replyWith } from "../http/responses.ts";
import type { Identity } from "../login/identity/identity.ts";
import type { ProviderClient } from "../login/identity/provider-client.ts";
import { ProviderError } from "../login/identity/provider-error.ts";
import type { WebSignIn, WebSignIns } from "../login/identity/web-sign-ins.ts";
import { addressOf } from "../operators/require-operator.ts";
import { FAILED, type Notice, notice, page } from "./web-login-pages.ts";

interface Deps {
  readonly settings: Pick<Settings, "serverUrl">;
  readonly refuse: Refuse;
  readonly log: Log;
  readonly activity: Pick<Activity, "record">;
}

/** Begins the sign-in at the provider, and sends the browser there. */
export async function sendOn(
  deps: Deps & { readonly webSignIns: WebSignIns },
  client: ProviderClient,
  { request, reply }: { readonly request: FastifyRequest; readonly reply: FastifyReply },
  {
    root,
    ...what
  }: Pick<WebSignIn, "token" | "redirect" | "purpose"> & {
    readonly browser: string;
    /** See `page`. */
    readonly root?: string;
  },
): Promise<FastifyReply> {
  const { baseUrl } = placeOf(request.raw, deps.settings.serverUrl);
  const { id, label } = client.provider;
  const redirectUri = `${baseUrl}/api/login/${id}-callback`;
  let url: string;
  try {
    url = await deps.webSignIns.begin(client, { ...what, redirectUri });
  } catch (error) {
    return failed(deps, client, reply, error, root);
  }
  // Not a redirect: the policy of this page would forbid that to a form's response.
  const body = [html`<p><a href="${url}">Go on to ${label}</a></p>`];
  return replyWith(reply, page(deps, 200, `Going to ${label}…`, body, { next: url, root }));
}

/** The provider has said who it is, and that person may not come in. */
export function refusePerson(
  deps: Deps,
  provider: string,
  { reason, message }: Extract<Identity, { outcome: "refused" }>,
  reply: FastifyReply,
): FastifyReply {
  deps.log.info({ provider, reason }, "a person was not signed in");
  recordRefusal(deps, reply, provider, reason);
  const what = { status: 403, title: "Not signed in", text: message };
  return refuseWith(deps, reply, `login-${reason.replaceAll(" ", "-")}`, what);
}

/** Throws what is not a `ProviderError`. */
export function failed(
  deps: Deps,
  { provider }: ProviderClient,
  reply: FastifyReply,
  error: unknown,
  root?: string,
): FastifyReply {
  if (!(error instanceof ProviderError)) throw error;
  const { problem } = error;
  const detail = { provider: provider.id, problem, reason: error.message };
  recordRefusal(deps, reply, provider.id, problem);
  if (problem === "denied") deps.log.info(detail, "a sign-in was refused by its identity provider");
  else deps.log.warn(detail, "a sign-in failed at its identity provider");
  return refuseWith(
    deps,
    reply,
    `login-provider-${problem}`,
    FAILED[problem](provider.label),
    root,
  );
}

function recordRefusal(
  { activity }: Pick<Deps, "activity">,
  { request }: FastifyReply,
  way: string,
  cause: string,
): void {
  const actor = { type: "user", way, address: addressOf(request.raw) } as const;
  activity.record({ kind: "sign-in.refused", actor, details: { cause } });
}

/** Refuses with a page. */
export function refuseWith(
  { refuse: send, ...deps }: Pick<Deps, "refuse" | "settings">,
  reply: FastifyReply,
  reason: string,
  what: Notice,
  root?: string,
): FastifyReply {
  return send(reply, reason, notice(deps, what, root));
}
