/**
 * The identity providers with which people sign in: `CT_OIDC_ISSUER` and what belongs to it describe one, `CT_OIDC_PROVIDERS`
 * any number. Pure.
 */
import { z } from "zod";

/** `id`: in URLs, logs and metrics. `label`: what people read on the button. */
export type IdentityProvider = ReturnType<typeof complete>;

/** What of the settings describes providers. */
export interface ProviderSettings {
  readonly oidcIssuer: string | undefined;
  readonly oidcClientId: string | undefined;
  readonly oidcClientSecret: string | undefined;
  readonly oidcLabel: string;
  readonly oidcScopes: readonly string[];
  readonly oidcNameClaim: string | undefined;
  readonly oidcEmailClaim: string | undefined;
  readonly oidcGroupsClaim: string | undefined;
  readonly oidcGroups: readonly string[];
  readonly oidcEmail: "claim" | "always";
  readonly oidcProviders: string | undefined;
}

const GITHUB = "https://github.com";
const GITHUB_API = "https://api.github.com";
const NAME_CLAIMS = ["name", "preferred_username", "nickname", "email"];
/** Other routes below `/api/login/`. */
const TAKEN: ReadonlySet<string> = new Set(["simple", "apikey", "initial", "poll", "validate"]);
/** Of the other ways to sign in: by its label a token belongs to one. */
const TAKEN_LABELS: ReadonlySet<string> = new Set(["Unverified", "API Key"]);
const MAX_PROVIDERS = 20;
/** Of the authorization request. */
const OWN_PARAMETERS: ReadonlySet<string> = new Set([
  ...["client_id", "redirect_uri", "response_type", "scope", "state", "nonce"],
  ...["code_challenge", "code_challenge_method", "response_mode", "request", "request_uri"],
]);
/** Google gives a refresh token only so (developers.google.com/identity/protocols/oauth2/web-server). */
const PARAMETERS_BY_ISSUER: ReadonlyMap<string, Readonly<Record<string, string>>> = new Map([
  ["https://accounts.google.com", { access_type: "offline", prompt: "consent" }],
]);

const text = z.string().min(1).max(2048);
const claim = z.string().min(1).max(256);
const common = {
  id: z
    .string()
    .regex(/^[a-z0-9](-?[a-z0-9]){0,31}$/, "lower-case letters, digits and single hyphens only")
    .refine((id) => !TAKEN.has(id) && !/-(callback|logout)$/.test(id), "this name is taken"),
  label: z.string().min(1).max(64).exactOptional(),
  clientId: text,
  clientSecret: text,
  scopes: z.array(z.string().regex(/^[\x21\x23-\x5b\x5d-\x7e]+$/)).exactOptional(),
  parameters: z
    .record(z.string().regex(/^[a-z_]{1,64}$/), z.string().max(1024))
    .refine(
      (given) => Object.keys(given).every((name) => !OWN_PARAMETERS.has(name)),
      "a parameter that the server sets itself",
    )
    .exactOptional(),
  nameClaim: z.union([claim, z.array(claim).min(1)]).exactOptional(),
  emailClaim: claim.exactOptional(),
  groupsClaim: claim.exactOptional(),
  groups: z.array(z.string().min(1)).exactOptional(),
  email: z.enum(["claim", "always"]).exactOptional(),
};
const url = z.string().max(2048).refine(isProviderUrl, "an https URL, or http on this machine");
const providersSchema = z
  .array(
    z.discriminatedUnion("type", [
      z.strictObject({ type: z.literal("oidc"), issuer: url, ...common }),
      z.strictObject({
        type: z.literal("github"),
        url: url.exactOptional(),
        apiUrl: url.exactOptional(),
        ...common,
        id: common.id.default("github"),
      }),
      z.strictObject({
        type: z.literal("oauth2"),
        authorizationUrl: url,
        tokenUrl: url,
        userInfoUrl: url,
        subjectClaim: claim.exactOptional(),
        ...common,
      }),
    ]),
  )
  .max(MAX_PROVIDERS);

type Given = z.infer<typeof providersSchema>[number];

/** The providers that the settings describe, or a problem for the operator that repeats no secret. */
export function identityProviders(
  settings: ProviderSettings,
): readonly IdentityProvider[] | string {
  const one = describedAlone(settings);
  if (typeof one === "string") return one;
  const listed = settings.oidcProviders === undefined ? [] : parseProviders(settings.oidcProviders);
  if (typeof listed === "string") return `CT_OIDC_PROVIDERS: ${listed}`;
  const all = [...(one === undefined ? [] : [one]), ...listed];
  const taken = all.find(({ label }) => TAKEN_LABELS.has(label));
  if (taken !== undefined) {
    return `an identity provider cannot have the label ${JSON.stringify(taken.label)}; give it another one`;
  }
  for (const what of ["id", "label"] as const) {
    const seen = new Set<string>();
    for (const provider of all) {
      if (seen.has(provider[what])) {
        return `two identity providers have the ${what} ${JSON.stringify(provider[what])}; give each its own`;
      }
      seen.add(provider[what]);
    }
  }
  return all;
}

/** What is wrong with a value of `CT_OIDC_PROVIDERS`; undefined if it is valid. */
export function providersProblem(value: string): string | undefined {
  const parsed = parseProviders(value);
  return typeof parsed === "string" ? parsed : undefined;
}

function parseProviders(value: string): readonly IdentityProvider[] | string {
  let json: unknown;
  try {
    json = JSON.parse(value);
  } catch {
    return 'it is not JSON; use a list like [{"type":"oidc","id":"acme","issuer":"https://id.example.com","clientId":"…","clientSecret":"…"}]';
  }
  const parsed = providersSchema.safeParse(json);
  if (parsed.success) return parsed.data.map(complete);
  const [issue] = parsed.error.issues;
  const at = issue?.path.join(".") ?? "";
  // zod's own message may repeat what it found, but it never repeats a text.
  return `${at === "" ? "the list" : at}: ${issue?.message ?? "invalid"}`;
}

/** The provider of the single variables. */
function describedAlone(settings: ProviderSettings): IdentityProvider | string | undefined {
  const { oidcIssuer: issuer, oidcClientId: clientId, oidcClientSecret: clientSecret } = settings;
  const given = [issuer, clientId, clientSecret].filter((value) => value !== undefined).length;
  if (given === 0) return undefined;
  if (issuer === undefined || clientId === undefined || clientSecret === undefined) {
    return "CT_OIDC_ISSUER, CT_OIDC_CLIENT_ID and CT_OIDC_CLIENT_SECRET belong together; set all three";
  }
  return complete({
    type: "oidc",
    id: "oidc",
    issuer,
    clientId,
    clientSecret,
    label: settings.oidcLabel,
    ...(settings.oidcScopes.length > 0 && { scopes: [...settings.oidcScopes] }),
    groups: [...settings.oidcGroups],
    email: settings.oidcEmail,
    ...(settings.oidcNameClaim !== undefined && { nameClaim: settings.oidcNameClaim }),
    ...(settings.oidcEmailClaim !== undefined && { emailClaim: settings.oidcEmailClaim }),
    ...(settings.oidcGroupsClaim !== undefined && { groupsClaim: settings.oidcGroupsClaim }),
  });
}

function complete(given: Given) {
  const { nameClaim = NAME_CLAIMS } = given;
  const names = typeof nameClaim === "string" ? [nameClaim] : nameClaim;
  const base = {
    id: given.id,
    label: given.label ?? defaultLabel(given),
    clientId: given.clientId,
    clientSecret: given.clientSecret,
    /** Who may sign in: members of at least one of these groups. Empty: everybody whom the provider signs in. */
    groups: given.groups ?? [],
    /** Whether `offline_access` is asked for too where the provider offers it: it gives a refresh token only so. */
    asksOffline: given.type === "oidc" && given.scopes === undefined,
    /** Further parameters of the authorization request. */
    parameters: given.parameters ?? parametersOf(given),
    /**
     * Whose emails count. `claim`: those that the provider says are verified. `always`: all, because the provider's own
     * administrators gave them.
     */
    email: given.email ?? "claim",
    /** Paths of claims: names, separated by dots where one is within another. */
    claims: {
      name: given.type === "github" ? ["name", "login"] : names,
      email: given.emailClaim ?? "email",
      groups: given.groupsClaim ?? "groups",
      /** Who it is; it never changes. */
      subject: "sub",
    },
  };
  switch (given.type) {
    case "oidc":
      return {
        ...base,
        type: given.type,
        issuer: given.issuer,
        scopes: given.scopes ?? ["openid", "profile", "email"],
      };
    case "github":
      return {
        ...base,
        type: given.type,
        url: given.url ?? GITHUB,
        apiUrl: given.apiUrl ?? (given.url === undefined ? GITHUB_API : `${given.url}/api/v3`),
        scopes: given.scopes ?? ["read:user", "user:email"],
        claims: { ...base.claims, subject: "id" },
      };
    case "oauth2":
      return {
        ...base,
        type: given.type,
        authorizationUrl: given.authorizationUrl,
        tokenUrl: given.tokenUrl,
        userInfoUrl: given.userInfoUrl,
        scopes: given.scopes ?? [],
        claims: { ...base.claims, subject: given.subjectClaim ?? "sub" },
      };
  }
}

function parametersOf(given: Given): Readonly<Record<string, string>> {
  const issuer = given.type === "oidc" ? given.issuer.replace(/\/$/, "") : "";
  return PARAMETERS_BY_ISSUER.get(issuer) ?? {};
}

function defaultLabel(given: Given): string {
  if (given.type === "github") return "GitHub";
  return new URL(given.type === "oidc" ? given.issuer : given.authorizationUrl).hostname;
}

/** Codes and tokens must not cross a network in plain text (RFC 6749 §3.1, §3.2). */
export function isProviderUrl(value: string): boolean {
  if (!URL.canParse(value)) return false;
  const { protocol, hostname, username, hash } = new URL(value);
  if (username !== "" || hash !== "") return false;
  const isLocal = ["localhost", "127.0.0.1", "[::1]"].includes(hostname);
  return protocol === "https:" || (protocol === "http:" && isLocal);
}
