/**
 * What the forms of the sign-in methods accept.
 */
import { expect, test } from "vitest";
import { createApiKeyLogin } from "../../../worker/login/api-key.ts";
import { signInWays } from "../../../worker/login/providers.ts";
import { createSimpleLogin } from "../../../worker/login/simple.ts";

const TOKEN = "0123456789abcdefAbcdefghijklmnopqrstuvwx";

const simpleLogin = createSimpleLogin({ keepsEmail: true });

function readName(user: unknown): unknown {
  const form = simpleLogin.read({ token: TOKEN, user });
  return form.outcome === "accepted" ? form.user.name : form.reason;
}

function readEmail(email: unknown): unknown {
  const form = simpleLogin.read({ token: TOKEN, user: "Ada", email });
  return form.outcome === "accepted" ? form.user.email : form.reason;
}

test.each([
  ["Ada", "Ada"],
  ["  Ada Lovelace\t", "Ada Lovelace"],
  ["Zoë", "Zoë"],
  ["김철수", "김철수"],
  ["עדה", "עדה"],
  ["O'Brien-Smith, Jr. <3", "O'Brien-Smith, Jr. <3"],
  ["👩‍💻", "👩‍💻"],
  ["x".repeat(100), "x".repeat(100)],
  ["𝒳".repeat(100), "𝒳".repeat(100)],
])("the name %j is accepted", (user, name) => {
  expect(readName(user)).toBe(name);
});

test("a name is normalized to its composed form, so that two encodings of it are one name", () => {
  expect(readName("Zoe\u0308")).toBe("Zo\u00eb");
});

test.each([
  "",
  "   ",
  "x".repeat(101),
  "𝒳".repeat(101),
  "a\u0000b",
  "a\nb",
  "a\u001b[31mb",
  "a\u0085b",
  "a\u2028b",
  "a\u202eb",
  "a\u2066b",
  "\u200f",
  "\u200b\u200b",
  "\ud800",
])("the name %j is refused", (user) => {
  expect(readName(user)).toBe("name");
});

test.each([undefined, null, 1, ["Ada"], { name: "Ada" }, "x".repeat(20_000)])(
  "a user that is not a short text is refused",
  (user) => {
    expect(readName(user)).toBe("form");
  },
);

test("an email address is optional and must have the form of one", () => {
  expect(readEmail(undefined)).toBeUndefined();
  expect(readEmail(null)).toBeUndefined();
  expect(readEmail("")).toBeUndefined();
  expect(readEmail(" ada@example.com ")).toBe("ada@example.com");
  expect(readEmail("ädä+x@bücher.example")).toBe("ädä+x@bücher.example");
  for (const bad of [
    "ada",
    "ada@",
    "@example.com",
    "a b@example.com",
    "a@b@c",
    "<ada@example.com>",
    "a@b\u0000",
    "a\u202e@b",
    `${"x".repeat(250)}@b.de`,
  ]) {
    expect(readEmail(bad), bad).toBe("email");
  }
  expect(readEmail(["ada@example.com"])).toBe("form");
});

test.each([
  null,
  undefined,
  [],
  "text",
  42,
  {},
  { user: "Ada" },
  { token: 1, user: "Ada" },
  { token: "", user: "Ada" },
  { token: "../x", user: "Ada" },
])("the body %j is refused as a form", (body) => {
  expect(simpleLogin.read(body)).toMatchObject({ outcome: "refused", status: 400 });
});

test("unknown fields of a form are ignored", () => {
  const form = simpleLogin.read({ token: TOKEN, user: "Ada", id: "root", authProvider: "GitHub" });
  expect(form).toEqual({ outcome: "accepted", token: TOKEN, user: { name: "Ada" } });
});

test("an email that is dropped is not validated", () => {
  const way = createSimpleLogin({ keepsEmail: false });
  for (const email of ["ada@example.com", "no address", "", null]) {
    const form = way.read({ token: TOKEN, user: "Ada", email });
    expect(form).toEqual({ outcome: "accepted", token: TOKEN, user: { name: "Ada" } });
  }
});

test("only the API key itself is accepted", () => {
  const way = createApiKeyLogin([{ name: undefined, key: "the right key, long enough" }]);
  const read = (apiKey: unknown) => way.read({ token: TOKEN, apiKey });
  expect(read("the right key, long enough")).toEqual({
    outcome: "accepted",
    token: TOKEN,
    user: { name: "API Key User" },
  });
  for (const wrong of ["the right key, long enough ", "the right key", "x", "x".repeat(5000)]) {
    expect(read(wrong)).toMatchObject({ outcome: "refused", status: 403 });
  }
  for (const none of ["", undefined, null, ["the right key, long enough"]]) {
    expect(read(none)).toMatchObject({ outcome: "refused", status: 400 });
  }
});

test("each of several API keys signs in under its name, and a name is not accepted as a key", () => {
  const way = createApiKeyLogin([
    { name: "ci", key: "the key of the build" },
    { name: "Review agent", key: "the key of the agent" },
    { name: undefined, key: "a key without a name" },
  ]);
  const nameOf = (apiKey: string) => {
    const form = way.read({ token: TOKEN, apiKey });
    return form.outcome === "accepted" ? form.user.name : form.reason;
  };
  expect(nameOf("the key of the build")).toBe("ci");
  expect(nameOf("the key of the agent")).toBe("Review agent");
  expect(nameOf("a key without a name")).toBe("API Key User");
  for (const wrong of [
    "ci",
    "ci:the key of the build",
    "the key of the",
    ":a key without a name",
  ]) {
    expect(nameOf(wrong)).toBe("api-key");
  }
});

test("the settings determine which sign-in methods are on", () => {
  const names = (settings: { loginSimple: boolean; loginApiKey: string | undefined }) =>
    signInWays({ ...settings, loginUnverifiedEmail: "drop" }).map((way) => way.name);
  expect(names({ loginSimple: true, loginApiKey: undefined })).toEqual(["simple"]);
  expect(names({ loginSimple: false, loginApiKey: "0123456789abcdef" })).toEqual(["apikey"]);
  expect(names({ loginSimple: true, loginApiKey: "0123456789abcdef" })).toEqual([
    "simple",
    "apikey",
  ]);
  expect(names({ loginSimple: false, loginApiKey: undefined })).toEqual([]);
});
