/**
 * Who somebody is, by the claims of identity providers. The shapes are those of the providers' documentation: what an ID token
 * and the user info response have together.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type IdentityProvider,
  identityProviders,
} from "../../../shared/settings/identity-providers.ts";
import { type Claims, claimAt, readIdentity } from "../../../worker/login/identity/identity.ts";
import { providerSettings } from "../../shared/settings/provider-settings.ts";

function providerOf(entry: object): IdentityProvider {
  const given = {
    id: "one",
    label: "Example ID",
    clientId: "id",
    clientSecret: "secret",
    ...entry,
  };
  const found = identityProviders(providerSettings({ oidcProviders: JSON.stringify([given]) }));
  if (typeof found === "string") throw new Error(found);
  const [provider] = found;
  if (provider === undefined) throw new Error("no provider");
  return provider;
}

const OIDC = { type: "oidc", issuer: "https://id.example.com" };
const read = (entry: object, claims: Claims) =>
  readIdentity(providerOf({ ...OIDC, ...entry }), "https://id.example.com", claims);

interface Shape {
  readonly what: string;
  readonly entry: object;
  readonly claims: Claims;
  readonly name: string;
  readonly email: string | undefined;
}

const ADA = { name: "Ada Lovelace", email: "ada@example.com" };

const SHAPES: readonly Shape[] = [
  {
    what: "Keycloak, with roles of the realm as groups",
    entry: { groupsClaim: "realm_access.roles", groups: ["editor"] },
    claims: {
      sub: "f:1b2c:ada",
      preferred_username: "ada",
      ...ADA,
      email_verified: true,
      realm_access: { roles: ["offline_access", "editor"] },
    },
    ...ADA,
  },
  {
    what: "Microsoft Entra, whose tenant vouches for addresses, with ids of groups",
    entry: { email: "always", groups: ["0b6bc2f8-1ad6-4e0c-8a3f-000000000001"] },
    claims: {
      sub: "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ",
      tid: "9188040d-6c67-4c5b-b112-36a304b66dad",
      oid: "00000000-0000-0000-66f3-3332eca7ea81",
      name: "Ada Lovelace",
      preferred_username: "ada@example.com",
      email: "ada@example.com",
      groups: ["0b6bc2f8-1ad6-4e0c-8a3f-000000000001"],
    },
    ...ADA,
  },
  {
    what: "Microsoft Entra, whose addresses anybody may have typed",
    entry: {},
    claims: { sub: "AAAA", name: "Ada Lovelace", email: "boss@example.com" },
    name: "Ada Lovelace",
    email: undefined,
  },
  {
    what: "Google",
    entry: {},
    claims: {
      sub: "110169484474386276334",
      name: "Ada Lovelace",
      given_name: "Ada",
      picture: "https://example.com/ada.jpg",
      email: "ada@example.com",
      email_verified: true,
      hd: "example.com",
    },
    ...ADA,
  },
  {
    what: "Okta",
    entry: { groups: ["Everyone"] },
    claims: {
      sub: "00uid4BxXw6I6TV4m0g3",
      name: "Ada Lovelace",
      preferred_username: "ada@example.com",
      email: "ada@example.com",
      email_verified: true,
      groups: ["Everyone", "Engineering"],
    },
    ...ADA,
  },
  {
    what: "Authentik, which calls no address verified",
    entry: {},
    claims: {
      sub: "5d1b6a",
      name: "Ada Lovelace",
      preferred_username: "ada",
      nickname: "ada",
      email: "ada@example.com",
      email_verified: false,
      groups: ["authentik Admins"],
    },
    name: "Ada Lovelace",
    email: undefined,
  },
  {
    what: "GitLab, with direct groups",
    entry: { groupsClaim: "groups_direct", groups: ["acme/editors"] },
    claims: {
      sub: "42",
      name: "Ada Lovelace",
      nickname: "ada",
      preferred_username: "ada",
      email: "ada@example.com",
      email_verified: true,
      groups_direct: ["acme/editors"],
    },
    ...ADA,
  },
  {
    what: "Forgejo, of somebody without a full name",
    entry: { groups: ["acme:editors"] },
    claims: {
      sub: "7",
      name: "",
      preferred_username: "ada",
      email: "ada@example.com",
      groups: ["acme", "acme:editors"],
    },
    name: "ada",
    email: undefined,
  },
  {
    what: "Auth0, with a claim whose name is a URL",
    entry: { groupsClaim: "https://acme.example/roles", groups: ["editor"] },
    claims: {
      sub: "auth0|5c0dd7d5a7e2a22f1b3b4b3e",
      nickname: "ada",
      name: "ada@example.com",
      email: "ada@example.com",
      email_verified: "true",
      "https://acme.example/roles": ["editor"],
    },
    name: "ada@example.com",
    email: "ada@example.com",
  },
  {
    what: "ZITADEL, with roles as names of an object's fields, which are no list of groups",
    entry: {},
    claims: {
      sub: "165460784409737834",
      ...ADA,
      email_verified: true,
      "urn:zitadel:iam:org:project:roles": { editor: { "1": "acme.example" } },
    },
    ...ADA,
  },
  {
    what: "OneLogin, with one group as a text",
    entry: { groups: ["Editors"] },
    claims: {
      sub: "36001",
      name: "Ada Lovelace",
      preferred_username: "ada",
      email: "ada@example.com",
      groups: "Editors",
    },
    name: "Ada Lovelace",
    email: undefined,
  },
];

test.each(SHAPES)("$what gives a person with a name, and with an email that counts", (shape) => {
  const identity = read(shape.entry, shape.claims);
  expect(identity).toMatchObject({ outcome: "accepted", user: { name: shape.name } });
  const email = identity.outcome === "accepted" ? identity.user.email : "refused";
  expect(email).toBe(shape.email);
});

test("the id at GitHub is the number that never changes, and the name may be the login", () => {
  const github = providerOf({ type: "github", id: "github" });
  const claims = {
    id: 583231,
    login: "octocat",
    name: null,
    email: "o@example.com",
    email_verified: true,
  };
  const identity = readIdentity(github, "https://github.com", claims);
  expect(identity).toMatchObject({
    outcome: "accepted",
    user: { name: "octocat", email: "o@example.com" },
  });
  expect(readIdentity(github, "https://github.com", { ...claims, login: "renamed" })).toMatchObject(
    {
      user: { id: identity.outcome === "accepted" ? identity.user.id : "" },
    },
  );
});

describe("ids", () => {
  const idOf = (issuer: string, sub: unknown): string | undefined => {
    const identity = readIdentity(providerOf(OIDC), issuer, { sub, name: "Ada" });
    return identity.outcome === "accepted" ? identity.user.id : undefined;
  };

  test("two people, or one subject of two issuers, have different ids, which tell nothing", () => {
    const ids = [idOf("https://a", "1"), idOf("https://a", "2"), idOf("https://b", "1")];
    expect(new Set(ids).size).toBe(3);
    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{32}$/);
    expect(idOf("https://a", "1")).toBe(ids[0]);
  });

  test.each([[undefined], [null], [""], ["x".repeat(2000)], [{}], [1.5], [true]])(
    "the subject %j is none",
    (sub) => {
      expect(idOf("https://a", sub)).toBeUndefined();
    },
  );
});

describe("groups that may come in", () => {
  const groups = ["staff"];
  const outcome = (value: unknown): string => {
    const identity = read({ groups }, { sub: "1", name: "Ada", groups: value });
    return identity.outcome === "accepted" ? "accepted" : identity.reason;
  };

  test.each([
    [["guests", "staff"], "accepted"],
    [[{ name: "staff" }], "accepted"],
    ["staff", "accepted"],
    [["Staff"], "groups"],
    [[], "groups"],
    [[null, 7, { id: "staff" }], "groups"],
    [undefined, "no groups"],
    [{ staff: true }, "no groups"],
    [Array.from({ length: 20_000 }, () => "staff"), "no groups"],
  ])("the groups %j are judged by those that may come in: %s", (value, expected) => {
    expect(outcome(value)).toBe(expected);
  });

  test("everybody may come in if no group is named", () => {
    expect(read({}, { sub: "1", name: "Ada" }).outcome).toBe("accepted");
  });
});

test("a name that could imitate another one, or cannot be seen, is passed over", () => {
  const claims = { sub: "1", name: "Ada\u202e", preferred_username: " \u200b ", nickname: "ada" };
  expect(read({}, claims)).toMatchObject({ user: { name: "ada" } });
  expect(read({}, { sub: "1", name: "\n" })).toMatchObject({ outcome: "refused", reason: "name" });
});

test("names of claims lead into objects, but never into what all objects have", () => {
  expect(claimAt({ a: { b: ["c"] }, "a.b": "whole" }, "a.b")).toBe("whole");
  expect(claimAt({ a: { b: ["c"] } }, "a.b")).toEqual(["c"]);
  expect(claimAt({ a: [] }, "a.length")).toBeUndefined();
  expect(claimAt({}, "constructor.name")).toBeUndefined();
  expect(claimAt({ a: {} }, "a.__proto__")).toBeUndefined();
});

test("whatever a provider sends, it is read or refused", () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (claims) => {
      const identity = read({ groups: ["staff"] }, claims);
      expect(["accepted", "refused"]).toContain(identity.outcome);
    }),
  );
});
