/** The identity providers that the settings describe. */
import { describe, expect, test } from "vitest";
import { identityProviders, isProviderUrl } from "../../../shared/settings/identity-providers.ts";
import { collectSettings, unknownSettings } from "../../../shared/settings/read-settings.ts";
import { providerSettings } from "./provider-settings.ts";

const ALONE = {
  oidcIssuer: "https://id.example.com",
  oidcClientId: "edge",
  oidcClientSecret: "s3cret",
};
const ENTRY = {
  type: "oidc",
  id: "acme",
  issuer: "https://id.example.com",
  clientId: "edge",
  clientSecret: "s3cret",
};
const listed = (...entries: readonly object[]) =>
  identityProviders(providerSettings({ oidcProviders: JSON.stringify(entries) }));

test("without settings there is no identity provider", () => {
  expect(identityProviders(providerSettings({}))).toEqual([]);
});

test("three variables describe one identity provider", () => {
  expect(identityProviders(providerSettings(ALONE))).toEqual([
    {
      type: "oidc",
      id: "oidc",
      label: "Company account",
      issuer: "https://id.example.com",
      clientId: "edge",
      clientSecret: "s3cret",
      scopes: ["openid", "profile", "email"],
      asksOffline: true,
      parameters: {},
      claims: {
        name: ["name", "preferred_username", "nickname", "email"],
        email: "email",
        groups: "groups",
        subject: "sub",
      },
      groups: [],
      email: "claim",
    },
  ]);
});

test("a list describes several identity providers, beside the one of three variables", () => {
  const settings = providerSettings({
    ...ALONE,
    oidcProviders: JSON.stringify([
      ENTRY,
      { type: "github", clientId: "gh", clientSecret: "s3cret" },
      {
        type: "oauth2",
        id: "old",
        label: "Old account",
        authorizationUrl: "https://old.example.com/authorize",
        tokenUrl: "https://old.example.com/token",
        userInfoUrl: "https://old.example.com/me",
        subjectClaim: "uid",
        clientId: "edge",
        clientSecret: "s3cret",
      },
    ]),
  });
  const found = identityProviders(settings);
  expect(found).toMatchObject([
    { id: "oidc", label: "Company account" },
    { id: "acme", label: "id.example.com" },
    { id: "github", label: "GitHub", apiUrl: "https://api.github.com", claims: { subject: "id" } },
    { id: "old", label: "Old account", claims: { subject: "uid" } },
  ]);
});

test("scopes that are named are all that a provider is asked for", () => {
  const own = { ...ENTRY, scopes: ["openid", "groups"] };
  expect(listed(ENTRY)).toMatchObject([{ asksOffline: true }]);
  expect(listed(own)).toMatchObject([{ asksOffline: false, scopes: ["openid", "groups"] }]);
  const alone = { ...ALONE, oidcScopes: ["openid"] };
  expect(identityProviders(providerSettings(alone))).toMatchObject([{ asksOffline: false }]);
});

test("Google is asked for a refresh token in its own way, and any provider with parameters of one's own", () => {
  const google = { ...ENTRY, issuer: "https://accounts.google.com" };
  expect(listed(google)).toMatchObject([
    { parameters: { access_type: "offline", prompt: "consent" } },
  ]);
  const parameters = { prompt: "select_account" };
  expect(listed({ ...google, parameters })).toMatchObject([{ parameters }]);
});

test("GitHub may be a server of one's own", () => {
  expect(
    listed({ type: "github", url: "https://git.example.com", clientId: "a", clientSecret: "b" }),
  ).toMatchObject([{ url: "https://git.example.com", apiUrl: "https://git.example.com/api/v3" }]);
});

test.each<[what: string, entries: readonly object[], problem: RegExp]>([
  ["without a secret", [{ ...ENTRY, clientSecret: undefined }], /0\.clientSecret: /],
  ["of an unknown type", [{ ...ENTRY, type: "saml" }], /0\.type: /],
  ["with a misspelled field", [{ ...ENTRY, isuer: "x" }], /isuer/],
  ["over plain HTTP", [{ ...ENTRY, issuer: "http://id.example.com" }], /0\.issuer: an https URL/],
  ["with the name of another route", [{ ...ENTRY, id: "simple" }], /this name is taken/],
  ["with a name that is no path", [{ ...ENTRY, id: "a/b" }], /lower-case letters/],
  ["with a name of another's callback", [{ ...ENTRY, id: "a-callback" }], /this name is taken/],
  ["with a name of another's logout", [{ ...ENTRY, id: "a-logout" }], /this name is taken/],
  [
    "with a parameter that binds the response",
    [{ ...ENTRY, parameters: { state: "x" } }],
    /0\.parameters: a parameter that the server sets itself/,
  ],
  ["twice", [ENTRY, { ...ENTRY, label: "B" }], /two identity providers have the id "acme"/],
  [
    "with the label of another way",
    [{ ...ENTRY, label: "API Key" }],
    /cannot have the label "API Key"/,
  ],
  ["with one label", [ENTRY, { ...ENTRY, id: "b" }], /have the label "id.example.com"/],
])("a provider %s is refused with what to do, without its secret", (_what, entries, problem) => {
  const found = listed(...entries);
  expect(found).toMatch(problem);
  expect(found).not.toContain("s3cret");
});

test("a list that is not JSON is refused by its variable's name, without its contents", () => {
  const env = { CT_OIDC_PROVIDERS: '[{"clientSecret":"s3cret"' };
  const { problems } = collectSettings({ role: "worker", env });
  expect(problems.join()).toMatch(/CT_OIDC_PROVIDERS.*not JSON/);
  expect(problems.join()).not.toContain("s3cret");
});

test.each([["oidcIssuer"], ["oidcClientId"], ["oidcClientSecret"]])(
  "%s alone is refused, because the three belong together",
  (name) => {
    expect(identityProviders(providerSettings({ ...ALONE, [name]: undefined }))).toMatch(
      /set all three/,
    );
  },
);

test.each([
  ["https://id.example.com/realms/staff", true],
  ["http://127.0.0.1:8080", true],
  ["http://localhost", true],
  ["http://id.example.com", false],
  ["https://user:password@id.example.com", false],
  ["https://id.example.com/#here", false],
  ["ftp://id.example.com", false],
  ["id.example.com", false],
])("%s is accepted as the URL of a provider: %s", (url, expected) => {
  expect(isProviderUrl(url)).toBe(expected);
});

describe("variables of other products", () => {
  const read = (env: Record<string, string>) => {
    const { settings, problems } = collectSettings({ role: "worker", env });
    return { providers: identityProviders(settings), problems };
  };
  const CLIENT = { CLIENTID: "edge", CLIENTSECRET: "s3cret" };
  const of = (prefix: string, values: Record<string, string>): Record<string, string> =>
    Object.fromEntries(Object.entries(values).map(([name, value]) => [prefix + name, value]));

  test.each<[what: string, env: Record<string, string>, provider: object]>([
    [
      "GitHub of the reference server",
      of("OCT_OAUTH_GITHUB_", CLIENT),
      { type: "github", id: "github", label: "GitHub" },
    ],
    [
      "Google of the reference server",
      of("OCT_OAUTH_GOOGLE_", CLIENT),
      { type: "oidc", id: "google", issuer: "https://accounts.google.com" },
    ],
    [
      "Keycloak of the reference server",
      of("OCT_OAUTH_KEYCLOAK_", {
        ...CLIENT,
        URL: "https://id.example.com/",
        REALM: "staff",
        USERNAMECLAIM: "nickname",
        CLIENTLABEL: "Staff",
      }),
      {
        id: "keycloak",
        label: "Staff",
        issuer: "https://id.example.com/realms/staff",
        claims: { name: ["nickname"] },
      },
    ],
    [
      "Authentik of the reference server",
      of("OCT_OAUTH_AUTHENTIK_", { ...CLIENT, URL: "https://auth.example.com" }),
      {
        type: "oauth2",
        id: "authentik",
        tokenUrl: "https://auth.example.com/application/o/token/",
      },
    ],
    [
      "OAuth of the reference server",
      of("OCT_OAUTH_", {
        ...CLIENT,
        URL: "https://old.example.com/authorize",
        TOKEN_URL: "https://old.example.com/token",
        USERINFO_URL: "https://old.example.com/me",
        EMAILCLAIM: "mail",
      }),
      { type: "oauth2", id: "oauth", claims: { email: "mail" } },
    ],
    [
      "single sign-on of CodeTogether",
      of("CT_SSO_", {
        PROVIDER: "OKTA",
        CLIENT_ID: "edge",
        CLIENT_SECRET: "s3cret",
        SYSTEM_BASE_URL: "https://acme.okta.com",
      }),
      { type: "oidc", id: "sso", label: "Okta", issuer: "https://acme.okta.com" },
    ],
  ])("the variables for %s describe a provider", (_what, env, provider) => {
    const { providers, problems } = read(env);
    expect(problems).toEqual([]);
    expect(providers).toMatchObject([{ ...provider, clientId: "edge", clientSecret: "s3cret" }]);
    expect(unknownSettings(env)).toEqual([]);
  });

  test("a missing variable of another product is refused by the names of the others, without a secret", () => {
    const { problems } = read({ OCT_OAUTH_GITHUB_CLIENTID: "edge" });
    expect(problems.join()).toMatch(/OCT_OAUTH_GITHUB_CLIENTID.*0\.clientSecret/);
  });

  test("the setting of this product counts before variables of other products", () => {
    const own = JSON.stringify([ENTRY]);
    const { providers } = read({ ...of("OCT_OAUTH_GITHUB_", CLIENT), CT_OIDC_PROVIDERS: own });
    expect(providers).toMatchObject([{ id: "acme" }]);
  });

  test("pages and redirects of the reference server count", () => {
    const { settings } = collectSettings({
      role: "worker",
      env: {
        OCT_LOGIN_PAGE_URL: "https://acme.example/login",
        OCT_LOGIN_SUCCESS_URL: "https://acme.example/done",
        OCT_REDIRECT_URL_WHITELIST: "https://acme.example/app,https://other.example/",
      },
    });
    expect(settings).toMatchObject({
      loginPageUrl: "https://acme.example/login",
      loginSuccessUrl: "https://acme.example/done",
      loginRedirects: ["https://acme.example/app", "https://other.example/"],
    });
  });
});
