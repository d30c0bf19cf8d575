/** Signs in as a program can: with a token that the operator gives, an API key, or a name where names are not checked. */
import { z } from "zod";
import { describeError } from "../../../shared/base/errors.ts";
import { readJson } from "../../../shared/base/json.ts";
import type { HttpAnswer } from "../model/observations.ts";
import type { HttpProbe } from "../probes/http.ts";
import { CLIENT, createProvider } from "./protocol.ts";

export interface Credentials {
  /** A user token of the protocol. */
  readonly userToken: string | undefined;
  /** Of CT_LOGIN_API_KEY. */
  readonly apiKey: string | undefined;
}

export type SignInAnswer =
  | {
      readonly outcome: "signed in";
      readonly token: string;
      readonly by: "token" | "API key" | "name";
    }
  /** The edge has only ways that need a person, or a key that was not given. */
  | { readonly outcome: "no way"; readonly ways: readonly string[] }
  | { readonly outcome: "failed"; readonly detail: string };

const providersSchema = z
  .array(z.object({ name: z.string(), type: z.string(), endpoint: z.string() }))
  .max(100);

/** The name that hosts and operators see. */
const NAME = "ct-edge verify";
const TIMEOUT_MS = 12_000;

/** `onAbandoned` gets the token of a sign-in that was begun and did not end. Never rejects. */
export async function signIn(
  deps: {
    readonly http: HttpProbe;
    readonly baseUrl: string;
    readonly signal: AbortSignal;
    readonly onAbandoned: (token: string) => void;
  },
  credentials: Credentials,
): Promise<SignInAnswer> {
  const { http, baseUrl, signal, onAbandoned } = deps;
  const { userToken } = credentials;
  if (userToken !== undefined) return checkToken(http, userToken);
  let ways: readonly string[] = [];
  let by: "API key" | "name" | undefined;
  let refusal: string | undefined;
  let begun: string | undefined;
  const provider = createProvider({
    http,
    baseUrl,
    transports: [],
    userToken: undefined,
    onTransport() {},
    async signIn(token, offered) {
      begun = token;
      const providers = providersSchema.safeParse(offered).data ?? [];
      ways = providers.map(({ name }) => name);
      const form = formFor(ways, credentials);
      const way = providers.find(({ name }) => name === form?.name);
      if (form === undefined || way === undefined) return false;
      by = form.by;
      const answer = await completeSignIn(http, way.endpoint, { ...form.fields, token });
      if (answer !== "done") refusal = answer;
      return answer === "done";
    },
  });
  try {
    const abortSignal = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
    const token = await provider.login({ abortSignal });
    return { outcome: "signed in", token, by: by ?? "name" };
  } catch (error) {
    if (begun !== undefined) onAbandoned(begun);
    if (refusal !== undefined) return { outcome: "failed", detail: refusal };
    if (by === undefined && ways.length > 0) return { outcome: "no way", ways };
    return { outcome: "failed", detail: describeError(error) };
  }
}

/** The way to sign in, of those that the edge offers. Pure. */
export function formFor(offered: readonly string[], { apiKey }: Pick<Credentials, "apiKey">) {
  if (apiKey !== undefined && offered.includes("apikey")) {
    return { name: "apikey", by: "API key", fields: { apiKey } } as const;
  }
  if (offered.includes("unverified")) {
    return { name: "unverified", by: "name", fields: { user: NAME } } as const;
  }
  return undefined;
}

/** `done`, or why not. */
async function completeSignIn(
  http: HttpProbe,
  endpoint: string,
  fields: Readonly<Record<string, string>>,
): Promise<string> {
  const answer = await submit(http, endpoint.replace(/^\/*/, "/"), fields);
  if (answer.outcome === "failed") return answer.detail;
  return answer.status === 200 ? "done" : `status ${answer.status}: ${answer.body.slice(0, 200)}`;
}

function submit(
  http: HttpProbe,
  endpoint: string,
  fields: Readonly<Record<string, string>>,
): Promise<HttpAnswer> {
  return http.send(endpoint, {
    method: "POST",
    headers: { "content-type": "application/json", "user-agent": CLIENT },
    body: JSON.stringify(fields),
  });
}

const validResponse = z.object({ valid: z.boolean() });

async function checkToken(http: HttpProbe, token: string): Promise<SignInAnswer> {
  const answer = await http.send("/api/login/validate", {
    method: "POST",
    headers: { "x-oct-jwt": token },
  });
  if (answer.outcome === "failed") return { outcome: "failed", detail: answer.detail };
  return readJson(validResponse, answer.body)?.valid
    ? { outcome: "signed in", token, by: "token" }
    : { outcome: "failed", detail: "the edge does not accept the user token" };
}

const pollResponse = z.object({ loginToken: z.string() });

/**
 * Completes a sign-in that was begun and polled for, and signs out: an open one would stay in the store for five minutes, as it
 * does where nobody signs in by a form. Rejects when the edge does not respond.
 */
export async function finishSignIn(
  http: HttpProbe,
  token: string,
  { apiKey }: Credentials,
): Promise<void> {
  const forms = [
    ...(apiKey === undefined ? [] : [{ path: "/api/login/apikey", fields: { apiKey } }]),
    { path: "/api/login/simple", fields: { user: NAME } },
  ];
  for (const { path, fields } of forms) {
    const answer = await submit(http, path, { ...fields, token });
    if (answer.outcome === "failed") throw new Error(answer.detail);
    if (answer.status !== 200) continue;
    const poll = `/api/login/poll/${encodeURIComponent(token)}`;
    const polled = await http.send(poll, { method: "POST" });
    if (polled.outcome === "failed") throw new Error(polled.detail);
    // A poll that was cut has taken it: it is gone.
    if (polled.status >= 400 && polled.status < 500) return;
    await signOut(http, pollResponse.parse(JSON.parse(polled.body)).loginToken);
    return;
  }
}

/** Rejects when the edge does not respond. */
export async function signOut(http: HttpProbe, token: string): Promise<void> {
  const answer = await http.send("/api/logout", { headers: { "x-oct-jwt": token } });
  if (answer.outcome === "failed") throw new Error(answer.detail);
}
