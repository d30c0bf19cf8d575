/**
 * Talks to one identity provider: OpenID Connect Core 1.0 §3.1 (authorization code flow) with PKCE (RFC 7636), nonce and signed
 * ID tokens; GitHub and plain OAuth 2.0 with PKCE, and the profile that the access token opens.
 */
import type * as OpenId from "openid-client";
import type { Clock } from "../../../shared/base/clock.ts";
import { EdgeError } from "../../../shared/base/errors.ts";
import type { IdentityProvider } from "../../../shared/settings/identity-providers.ts";
import type { Claims } from "./identity.ts";

export interface ProviderClient {
  readonly provider: IdentityProvider;
  /** Where the browser goes to sign in. Rejects with `ProviderError`. */
  begin(request: Begun & { readonly redirectUri: string; readonly state: string }): Promise<string>;
  /** What the provider says of the person who came back. Rejects with `ProviderError`. */
  finish(response: Finishing): Promise<{ readonly issuer: string; readonly claims: Claims }>;
}

/** What binds the response to its request. */
export interface Begun {
  readonly verifier: string;
  readonly nonce: string;
}

export interface Finishing extends Begun {
  readonly redirectUri: string;
  readonly state: string;
  /** Of the request with which the browser came back. */
  readonly query: URLSearchParams;
}

/**
 * `denied`: the person or the provider said no. `unreachable`: it did not respond, or with an error of its own. `invalid`: its
 * response proves nothing.
 */
export type ProviderProblem = "denied" | "unreachable" | "invalid";

export class ProviderError extends EdgeError {
  readonly code = "EDGE_IDENTITY_PROVIDER";
  readonly source = "upstream";
  readonly retryable: boolean;
  readonly problem: ProviderProblem;
  constructor(problem: ProviderProblem, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.problem = problem;
    this.retryable = problem === "unreachable";
  }
}

/** The same as `globalThis.fetch`, over the proxy and with the authorities of the settings. */
export type Fetch = OpenId.CustomFetch;

/** For each request to a provider; a person waits. */
const TIMEOUT_S = 10;
const CLOCK_TOLERANCE_S = 60;
/** A provider's metadata may change, and its keys: they are read again after this. */
const METADATA_MS = 3_600_000;
/** A token with a person's thousand groups has some 100 KB. */
const MAX_RESPONSE_BYTES = 1024 * 1024;

export function createProviderClient(
  provider: IdentityProvider,
  deps: { readonly fetch: Fetch; readonly clock: Pick<Clock, "nowMs"> },
): ProviderClient {
  const { clock } = deps;
  let known:
    | { readonly config: Promise<OpenId.Configuration>; readonly untilMs: number }
    | undefined;

  async function configuration(): Promise<OpenId.Configuration> {
    if (known !== undefined && clock.nowMs() < known.untilMs) return known.config;
    const config = configure(provider, deps.fetch);
    known = { config, untilMs: clock.nowMs() + METADATA_MS };
    // The next person asks again.
    config.catch(() => {
      known = undefined;
    });
    return config;
  }

  return {
    provider,
    async begin({ redirectUri, state, verifier, nonce }) {
      const client = await library();
      try {
        const config = await configuration();
        const url = client.buildAuthorizationUrl(config, {
          redirect_uri: redirectUri,
          scope: provider.scopes.join(" "),
          state,
          code_challenge: await client.calculatePKCECodeChallenge(verifier),
          code_challenge_method: "S256",
          ...(provider.type === "oidc" && { nonce }),
        });
        return url.href;
      } catch (error) {
        throw explained(client, error);
      }
    },
    async finish({ redirectUri, state, verifier, nonce, query }) {
      const client = await library();
      try {
        const config = await configuration();
        const current = new URL(redirectUri);
        current.search = query.toString();
        const tokens = await client.authorizationCodeGrant(config, current, {
          pkceCodeVerifier: verifier,
          expectedState: state,
          ...(provider.type === "oidc" && { expectedNonce: nonce, idTokenExpected: true }),
        });
        const { issuer } = config.serverMetadata();
        return { issuer, claims: await claimsOf(client, config, tokens) };
      } catch (error) {
        throw explained(client, error);
      }
    },
  };

  async function claimsOf(
    client: typeof OpenId,
    config: OpenId.Configuration,
    tokens: OpenId.TokenEndpointResponse & OpenId.TokenEndpointResponseHelpers,
  ): Promise<Claims> {
    const token = tokens.access_token;
    switch (provider.type) {
      case "oidc": {
        const claims = tokens.claims();
        if (claims === undefined) throw new ProviderError("invalid", "there is no ID token");
        const { userinfo_endpoint: endpoint } = config.serverMetadata();
        if (endpoint === undefined) return claims;
        // Many providers put names and groups only there.
        const more = await client.fetchUserInfo(config, token, claims.sub);
        return { ...claims, ...more };
      }
      case "github": {
        const [profile, emails] = await Promise.all([
          readJson(client, config, token, `${provider.apiUrl}/user`),
          readJson(client, config, token, `${provider.apiUrl}/user/emails`).catch(() => []),
        ]);
        return { ...asClaims(profile), ...primaryEmail(emails) };
      }
      case "oauth2":
        return asClaims(await readJson(client, config, token, provider.userInfoUrl));
    }
  }
}

function asClaims(value: unknown): Claims {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Claims;
  throw new ProviderError("invalid", "the profile is not a JSON object");
}

/** GitHub's profile may have an address that nobody has verified. */
function primaryEmail(emails: unknown): Claims {
  const list: readonly unknown[] = Array.isArray(emails) ? emails : [];
  const found = list.find(
    (one): one is { email: unknown } =>
      typeof one === "object" &&
      one !== null &&
      Reflect.get(one, "primary") === true &&
      Reflect.get(one, "verified") === true,
  );
  return { email: found?.email, email_verified: found !== undefined };
}

async function readJson(
  client: typeof OpenId,
  config: OpenId.Configuration,
  token: string,
  url: string,
): Promise<unknown> {
  const headers = new Headers({ accept: "application/json" });
  const response = await client.fetchProtectedResource(
    config,
    token,
    new URL(url),
    "GET",
    null,
    headers,
  );
  if (!response.ok) {
    throw new ProviderError("unreachable", `${url} responds with status ${response.status}`);
  }
  return response.json();
}

async function configure(provider: IdentityProvider, fetch: Fetch): Promise<OpenId.Configuration> {
  const client = await library();
  const metadata = {
    client_secret: provider.clientSecret,
    [client.clockTolerance]: CLOCK_TOLERANCE_S,
  };
  const customFetch = limited(fetch);
  if (provider.type === "oidc") {
    return client.discovery(new URL(provider.issuer), provider.clientId, metadata, undefined, {
      execute: [client.enableNonRepudiationChecks, ...allowPlain(client, provider.issuer)],
      [client.customFetch]: customFetch,
      timeout: TIMEOUT_S,
    });
  }
  const server = serverOf(provider);
  const config = new client.Configuration(server, provider.clientId, metadata);
  config[client.customFetch] = customFetch;
  config.timeout = TIMEOUT_S;
  for (const execute of allowPlain(client, server.issuer)) execute(config);
  return config;
}

function serverOf(
  provider: Exclude<IdentityProvider, { readonly type: "oidc" }>,
): OpenId.ServerMetadata {
  if (provider.type === "github") {
    return {
      issuer: provider.url,
      authorization_endpoint: `${provider.url}/login/oauth/authorize`,
      token_endpoint: `${provider.url}/login/oauth/access_token`,
    };
  }
  const { origin } = new URL(provider.tokenUrl);
  return {
    issuer: origin,
    authorization_endpoint: provider.authorizationUrl,
    token_endpoint: provider.tokenUrl,
  };
}

/** Only on this machine, which the settings have checked. */
function allowPlain(
  client: typeof OpenId,
  url: string,
): ((config: OpenId.Configuration) => void)[] {
  return url.startsWith("http:") ? [client.allowInsecureRequests] : [];
}

/** Loaded when somebody signs in: a worker without providers does not have it in memory. */
function library(): Promise<typeof OpenId> {
  return import("openid-client");
}

/** Reads no more than a response may have. */
function limited(fetch: Fetch): Fetch {
  return async (url, init) => {
    const response = await fetch(url, init);
    const { body } = response;
    if (body === null) return response;
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    for await (const chunk of body as unknown as AsyncIterable<Uint8Array>) {
      bytes += chunk.length;
      if (bytes > MAX_RESPONSE_BYTES) {
        throw new ProviderError("invalid", `a response has more than ${MAX_RESPONSE_BYTES} bytes`);
      }
      chunks.push(chunk);
    }
    const { status, statusText, headers } = response;
    const kept = new Headers(headers);
    // It is decoded already.
    kept.delete("content-encoding");
    kept.delete("content-length");
    return new Response(chunks.length === 0 ? null : Buffer.concat(chunks), {
      status,
      statusText,
      headers: kept,
    });
  };
}

/** Without what the provider or the browser sent: it may hold codes and tokens. */
function explained(client: typeof OpenId, error: unknown): ProviderError {
  if (error instanceof ProviderError) return error;
  const inner = error instanceof Error ? error.cause : undefined;
  if (inner instanceof ProviderError) return inner;
  if (error instanceof client.AuthorizationResponseError) {
    return new ProviderError("denied", `the provider refused: ${safe(error.error)}`);
  }
  if (error instanceof client.ResponseBodyError) {
    return new ProviderError("invalid", `the provider refused the code: ${safe(error.error)}`);
  }
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const isNetwork =
    error instanceof TypeError ||
    code === "OAUTH_TIMEOUT" ||
    code === "OAUTH_RESPONSE_IS_NOT_CONFORM";
  if (isNetwork) {
    const detail = inner instanceof Error ? inner.message : describe(error);
    return new ProviderError("unreachable", `the provider cannot be used: ${detail}`);
  }
  return new ProviderError("invalid", `the provider's response is not valid: ${describe(error)}`);
}

/** An OAuth error code (RFC 6749 §4.1.2.1), which the browser may have changed. */
function safe(code: string): string {
  return /^[a-z_.-]{1,64}$/.test(code) ? code : "unknown error";
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : "unknown error";
}
