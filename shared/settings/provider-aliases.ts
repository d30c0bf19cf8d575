/**
 * The variables with which the reference server (`OCT_OAUTH_…`) and CodeTogether (`CT_SSO_…`) describe identity providers, as a
 * value of `CT_OIDC_PROVIDERS`. Ids are as there, so that redirect URLs of the reference server go on working. Pure.
 */
import type { Aliases } from "./setting.ts";

type Of = (name: string) => string | undefined;

interface Family {
  readonly prefix: string;
  /** The provider is described when one of them is set. */
  readonly on: readonly string[];
  readonly names: readonly string[];
  readonly read: (of: Of) => object;
}

const FAMILIES: readonly Family[] = [
  {
    prefix: "OCT_OAUTH_GITHUB_",
    on: ["CLIENTID"],
    names: ["CLIENTID", "CLIENTSECRET"],
    read: (of) => ({ type: "github", id: "github", ...clientOf(of) }),
  },
  {
    prefix: "OCT_OAUTH_GOOGLE_",
    on: ["CLIENTID"],
    names: ["CLIENTID", "CLIENTSECRET"],
    read: (of) => ({
      ...{ type: "oidc", id: "google", label: "Google", issuer: "https://accounts.google.com" },
      ...clientOf(of),
    }),
  },
  {
    prefix: "OCT_OAUTH_KEYCLOAK_",
    on: ["URL"],
    names: ["URL", "REALM", "CLIENTID", "CLIENTSECRET", "USERNAMECLAIM", "CLIENTLABEL"],
    read: (of) => ({
      ...{ type: "oidc", id: "keycloak", label: of("CLIENTLABEL") ?? "Keycloak" },
      issuer: `${bare(of("URL"))}/realms/${of("REALM") ?? "master"}`,
      ...clientOf(of),
    }),
  },
  {
    prefix: "OCT_OAUTH_AUTHENTIK_",
    on: ["URL"],
    names: ["URL", "CLIENTID", "CLIENTSECRET", "USERNAMECLAIM", "CLIENTLABEL"],
    // Its issuer has the application's name in it, which these variables do not tell.
    read: (of) => ({
      ...{ type: "oauth2", id: "authentik", label: of("CLIENTLABEL") ?? "Authentik" },
      authorizationUrl: `${bare(of("URL"))}/application/o/authorize/`,
      tokenUrl: `${bare(of("URL"))}/application/o/token/`,
      userInfoUrl: `${bare(of("URL"))}/application/o/userinfo/`,
      scopes: ["openid", "profile", "email"],
      ...clientOf(of),
    }),
  },
  {
    prefix: "OCT_OAUTH_",
    on: ["URL"],
    names: [
      ...["URL", "TOKEN_URL", "USERINFO_URL", "CLIENTID", "CLIENTSECRET", "CLIENTLABEL"],
      ...["USERNAMECLAIM", "EMAILCLAIM"],
    ],
    read: (of) => ({
      ...{ type: "oauth2", id: "oauth", label: of("CLIENTLABEL") ?? "OAuth" },
      authorizationUrl: of("URL"),
      tokenUrl: of("TOKEN_URL"),
      userInfoUrl: of("USERINFO_URL"),
      scopes: ["openid", "profile", "email"],
      emailClaim: of("EMAILCLAIM"),
      ...clientOf(of),
    }),
  },
  {
    prefix: "CT_SSO_",
    // The second name is that of versions before 4.1.2.
    on: ["SYSTEM_BASE_URL", "AUTHORIZATION_ENDPT"],
    names: [
      ...["PROVIDER", "CLIENT_ID", "CLIENT_SECRET", "SYSTEM_BASE_URL", "AUTHORIZATION_ENDPT"],
      ...["TOKEN_ENDPT", "SECURE_JWKS_ENDPT_ENABLE"],
    ],
    read: (of) => ({
      ...{ type: "oidc", id: "sso", label: labelOf(of("PROVIDER")) },
      issuer: bare(of("SYSTEM_BASE_URL") ?? of("AUTHORIZATION_ENDPT")),
      clientId: of("CLIENT_ID"),
      clientSecret: of("CLIENT_SECRET"),
    }),
  },
];

export const PROVIDER_ALIASES: Aliases = {
  names: FAMILIES.flatMap(({ prefix, names }) => names.map((name) => prefix + name)),
  read(env) {
    const found = FAMILIES.flatMap(({ prefix, on, read }) => {
      // As everywhere: an empty variable counts as not set.
      const of: Of = (name) => env[prefix + name] || undefined;
      return on.some((name) => of(name) !== undefined) ? read(of) : [];
    });
    // Fields without a value are left out.
    return found.length === 0 ? undefined : JSON.stringify(found);
  },
};

/** Of the reference server. */
function clientOf(of: Of): object {
  return {
    clientId: of("CLIENTID"),
    clientSecret: of("CLIENTSECRET"),
    nameClaim: of("USERNAMECLAIM"),
  };
}

function bare(url: string | undefined): string {
  return (url ?? "").replace(/\/+$/, "");
}

const LABELS: Readonly<Record<string, string>> = {
  OKTA: "Okta",
  MICROSOFT: "Microsoft",
  IDCS: "Oracle",
  KEYCLOAK: "Keycloak",
  ONELOGIN: "OneLogin",
};

function labelOf(provider: string | undefined): string {
  return LABELS[provider?.toUpperCase() ?? ""] ?? "Single sign-on";
}
