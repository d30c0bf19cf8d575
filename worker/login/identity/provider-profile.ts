/** What an identity provider says of a person: in its ID token, and in the profile that an access token opens. */
import type * as OpenId from "openid-client";
import type { IdentityProvider } from "../../../shared/settings/identity-providers.ts";
import type { Claims } from "./identity.ts";
import { ProviderError } from "./provider-error.ts";

/** With which a provider is asked. */
export interface ProviderLink {
  readonly client: typeof OpenId;
  readonly config: OpenId.Configuration;
  readonly provider: IdentityProvider;
}

/**
 * `idToken`: its claims. `subject`: whose profile it must be, where the provider can say so. Undefined: the provider says nothing
 * without an ID token. Rejects with `ProviderError`, and with what openid-client throws.
 */
export async function readClaims(
  link: ProviderLink,
  accessToken: string,
  idToken: Claims | undefined,
  subject: string,
): Promise<Claims | undefined> {
  const { client, config, provider } = link;
  switch (provider.type) {
    case "oidc": {
      if (config.serverMetadata().userinfo_endpoint === undefined) return idToken;
      // Many providers put names and groups only there.
      const more = await client.fetchUserInfo(config, accessToken, subject);
      return { ...idToken, ...more };
    }
    case "github": {
      const [profile, emails] = await Promise.all([
        readJson(link, accessToken, `${provider.apiUrl}/user`),
        readJson(link, accessToken, `${provider.apiUrl}/user/emails`).catch(() => []),
      ]);
      return { ...asClaims(profile), ...primaryEmail(emails) };
    }
    case "oauth2":
      return asClaims(await readJson(link, accessToken, provider.userInfoUrl));
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
  { client, config }: ProviderLink,
  token: string,
  url: string,
): Promise<unknown> {
  const headers = new Headers({ accept: "application/json" });
  const response = await client
    .fetchProtectedResource(config, token, new URL(url), "GET", null, headers)
    .catch((error: unknown) => {
      if (error instanceof client.WWWAuthenticateChallengeError) return error.response;
      throw error;
    });
  if (response.status === 401) {
    throw new ProviderError("denied", `${url} no longer accepts the access token`);
  }
  if (!response.ok) {
    throw new ProviderError("unreachable", `${url} responds with status ${response.status}`);
  }
  return response.json();
}
