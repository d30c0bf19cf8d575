/** The JSON schema of policies: it is the published one, accepts what is documented, and refuses what has another form. */
import { readFileSync } from "node:fs";
import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { parsePolicy, policyJsonSchema } from "../../../shared/policy/parse-policy.ts";

const DOCS = new URL("../../../docs/", import.meta.url);
const published = readFileSync(new URL("policy.schema.json", DOCS), "utf8");
const page = readFileSync(new URL("operators/policy.md", DOCS), "utf8");
const validate = new Ajv2020({ strict: true, strictTypes: false }).compile(JSON.parse(published));

test("docs/policy.schema.json is what `npm run docs` writes", () => {
  expect(published).toBe(`${JSON.stringify(policyJsonSchema(), undefined, 2)}\n`);
});

const examples = [...page.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, text = ""]) => text);

test("the documentation of the policy has examples", () =>
  expect(examples.length).toBeGreaterThan(0));

test.each(examples)(
  "an example of the documentation is right, for editors and for workers: %s",
  (text) => {
    expect(parsePolicy(text).outcome).toBe("read");
    validate(parse(text));
    expect(validate.errors).toBeNull();
  },
);

const RULE = { name: "a", host: "allow" };
const GOOD = { version: 1, otherwise: { host: "deny", join: "deny" }, rules: [RULE] };

describe("a file with a mistake is refused, by editors as by workers", () => {
  test.each([
    ["no rules", { ...GOOD, rules: [] }],
    ["another version", { ...GOOD, version: 2 }],
    ["no otherwise", { version: 1, rules: [RULE] }],
    ["a key that does not exist", { ...GOOD, rule: [] }],
    ["a rule without a name", { ...GOOD, rules: [{ host: "allow" }] }],
    ["a verdict that is none", { ...GOOD, rules: [{ ...RULE, host: "perhaps" }] }],
    ["a misspelled key", { ...GOOD, rules: [{ ...RULE, guest: 3 }] }],
    ["a time without a unit", { ...GOOD, rules: [{ ...RULE, idle: "30" }] }],
    ["a number of guests as text", { ...GOOD, rules: [{ ...RULE, guests: "3" }] }],
    ["an empty condition", { ...GOOD, rules: [{ ...RULE, who: {} }] }],
    ["an empty list", { ...GOOD, rules: [{ ...RULE, who: { groups: [] } }] }],
    ["a list that is none", { ...GOOD, rules: [{ ...RULE, who: { groups: "staff" } }] }],
    ["a network that is a name", { ...GOOD, rules: [{ ...RULE, who: { networks: ["office"] } }] }],
    [
      "an address as a domain",
      { ...GOOD, rules: [{ ...RULE, who: { domains: ["a@b.example"] } }] },
    ],
    ["networks of hosts", { ...GOOD, rules: [{ ...RULE, hosts: { networks: ["10.0.0.0/8"] } }] }],
    ["a version that is a number", { ...GOOD, rules: [{ ...RULE, clients: { code: 1 } }] }],
    ["a hint that is a word", { ...GOOD, rules: [{ ...RULE, readOnly: "yes" }] }],
  ])("a policy file with %s is refused, by editors as by workers", (_what, policy) => {
    expect(validate(policy)).toBe(false);
    expect(parsePolicy(JSON.stringify(policy)).outcome).toBe("invalid");
  });
});

test("what a worker reads is right for editors too", () => {
  expect(validate(GOOD)).toBe(true);
  const all = {
    ...RULE,
    join: "without-asking",
    readOnly: false,
    who: {
      users: ["ada@example.com"],
      apiKeys: ["*"],
      domains: ["*.example.com", "münchen.example"],
      groups: ["staff"],
      networks: ["10.0.0.0/8", "fd00::1"],
    },
  };
  const limits = { name: "b", guests: 0, sessions: 1, longest: "8h", idle: "30m", alone: "90s" };
  const policy = {
    ...GOOD,
    rules: [all, { ...limits, clients: { "Visual Studio Code": "0.3.1" } }],
  };
  validate(policy);
  expect(validate.errors).toBeNull();
  expect(parsePolicy(JSON.stringify(policy)).outcome).toBe("read");
});
