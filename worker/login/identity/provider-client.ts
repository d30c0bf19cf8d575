/**
 * Talks to one identity provider: OpenID Connect Core 1.0 §3.1 (authorization code flow) with PKCE (RFC 7636), nonce and signed
 * ID tokens; GitHub and plain OAuth 2.0 with PKCE, and the profile that the access token opens.
 */
import type * as OpenId from "openid-client";
import type { Clock } from "../../../shared/base/clock.ts";
import type { IdentityProvider } from "../../../shared/settings/identity-providers.ts";
import type { Claims } from "./identity.ts";
import { createLogoutVerifier, type LoggedOut } from "./logout-token.ts";
import { explained, explainedCheck, explainedRefresh, ProviderError } from "./provider-error.ts";
import { type ProviderLink, readClaims } from "./provider-profile.ts";

export interface ProviderClient {
  readonly provider: IdentityProvider;
  /** Where the browser goes to sign in. Rejects with `ProviderError`. */
  begin(request: Begun & { readonly redirectUri: string; readonly state: string }): Promise<string>;
  /** What the provider says of the person who came back. Rejects with `ProviderError`. */
  finish(response: Finishing): Promise<SignedIn>;
  /**
   * What the provider says of a person now. `keep` is called with the access that takes the place of `access`, at once: the one
   * before may be of no use any more. Rejects with `ProviderError`: only `denied` says that the person may no longer sign in.
   */
  check(access: Access, subject: string, keep: (access: Access) => Promise<void>): Promise<Checked>;
  /** Whom the provider has signed out, by its back-channel logout. Rejects with `ProviderError`. */
  readLogout(token: string): Promise<LoggedOut>;
}

/** With which the provider is asked about a person who is not there. */
export type Access = { readonly refreshToken: string } | { readonly accessToken: string };

export interface SignedIn {
  readonly issuer: string;
  readonly claims: Claims;
  /** Undefined: the provider gives nothing with which it could be asked again. */
  readonly access: Access | undefined;
  /** The provider's name of the session. */
  readonly providerSession: string | undefined;
}

export interface Checked {
  readonly issuer: string;
  /** Undefined: the provider said only that the person may still sign in. */
  readonly claims: Claims | undefined | ProviderError;
  /** Whether claims that are missing are missing at the provider: without an ID token (OpenID Connect Core §12.2) it says less. */
  readonly isWhole: boolean;
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

/** The same as `globalThis.fetch`, over the proxy and with the authorities of the settings. */
export type Fetch = OpenId.CustomFetch;

const TIMEOUT_S = 10;
const CLOCK_TOLERANCE_S = 60;
/** For a refresh token, where providers give it only with this scope (OpenID Connect Core §11). */
const OFFLINE = "offline_access";
/** A provider's metadata may change, and its keys: they are read again after this. */
const METADATA_MS = 3_600_000;
/** A token with a person's thousand groups has some 100 KB. */
const MAX_RESPONSE_BYTES = 1024 * 1024;

export function createProviderClient(
  provider: IdentityProvider,
  deps: {
    readonly fetch: Fetch;
    readonly clock: Pick<Clock, "nowMs">;
    /** For each request; default 10 s: a person waits. */
    readonly timeoutS?: number;
  },
): ProviderClient {
  const { clock } = deps;
  let known:
    | { readonly config: Promise<OpenId.Configuration>; readonly untilMs: number }
    | undefined;

  const verifyLogout = createLogoutVerifier(provider.clientId, limited(deps.fetch));

  async function configuration(): Promise<OpenId.Configuration> {
    if (known !== undefined && clock.nowMs() < known.untilMs) return known.config;
    const config = configure(provider, deps.fetch, deps.timeoutS ?? TIMEOUT_S);
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
        const { scopes_supported: offered = [] } = config.serverMetadata();
        const isOffline = provider.asksOffline && offered.includes(OFFLINE);
        const scopes = isOffline ? [...provider.scopes, OFFLINE] : provider.scopes;
        const url = client.buildAuthorizationUrl(config, {
          ...provider.parameters,
          redirect_uri: redirectUri,
          scope: scopes.join(" "),
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
        const idToken = tokens.claims();
        if (provider.type === "oidc" && idToken === undefined) throw NO_ID_TOKEN;
        const link = { client, config, provider };
        const claims = await readClaims(link, tokens.access_token, idToken, idToken?.sub ?? "");
        const session = idToken?.["sid"];
        return {
          issuer,
          claims: claims ?? {},
          access: accessOf(provider, tokens),
          providerSession: typeof session === "string" ? session : undefined,
        };
      } catch (error) {
        throw explained(client, error);
      }
    },
    async check(access, subject, keep) {
      const client = await library();
      const config = await configuration().catch((error: unknown) => {
        throw explained(client, error);
      });
      const { issuer } = config.serverMetadata();
      const link = { client, config, provider };
      if ("accessToken" in access) {
        const claims = await readClaims(link, access.accessToken, undefined, subject).catch(
          (error: unknown) => {
            throw explainedCheck(client, error);
          },
        );
        return { issuer, claims, isWhole: true };
      }
      const tokens = await client
        .refreshTokenGrant(config, access.refreshToken)
        .catch((error: unknown) => {
          throw explainedRefresh(client, error);
        });
      await keep({ refreshToken: tokens.refresh_token ?? access.refreshToken });
      const isWhole = provider.type !== "oidc" || tokens.claims() !== undefined;
      return { issuer, isWhole, claims: await claimsAfterRefresh(link, tokens, subject) };
    },
    async readLogout(token) {
      const client = await library();
      try {
        return await verifyLogout((await configuration()).serverMetadata(), token);
      } catch (error) {
        throw explained(client, error);
      }
    },
  };
}

const NO_ID_TOKEN = new ProviderError("invalid", "there is no ID token");

type Tokens = OpenId.TokenEndpointResponse & OpenId.TokenEndpointResponseHelpers;

function accessOf({ type }: IdentityProvider, tokens: Tokens): Access | undefined {
  const { refresh_token: refreshToken, access_token: accessToken } = tokens;
  if (refreshToken !== undefined) return { refreshToken };
  // Those that do not expire, like GitHub's, are good until they are revoked.
  return type !== "oidc" && tokens.expires_in === undefined ? { accessToken } : undefined;
}

async function claimsAfterRefresh(
  link: ProviderLink,
  tokens: Tokens,
  subject: string,
): Promise<Checked["claims"]> {
  const idToken = tokens.claims();
  if (idToken !== undefined && idToken.sub !== subject) {
    return new ProviderError("invalid", "the refreshed ID token is of somebody else");
  }
  try {
    return await readClaims(link, tokens.access_token, idToken, subject);
  } catch (error) {
    return explained(link.client, error);
  }
}

async function configure(
  provider: IdentityProvider,
  fetch: Fetch,
  timeoutS: number,
): Promise<OpenId.Configuration> {
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
      timeout: timeoutS,
    });
  }
  const server = serverOf(provider);
  const config = new client.Configuration(server, provider.clientId, metadata);
  config[client.customFetch] = customFetch;
  config.timeout = timeoutS;
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
