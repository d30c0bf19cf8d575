/** A policy as an operator writes it: what is read, and what is said about mistakes. */
import { describe, expect, test } from "vitest";
import { MAX_POLICY_BYTES, parsePolicy } from "../../../shared/policy/parse-policy.ts";

const HEAD = "version: 1\notherwise: { host: deny, join: deny }\n";

function read(rules: string) {
  const parsed = parsePolicy(`${HEAD}rules:\n${rules}`);
  if (parsed.outcome === "invalid") throw new Error(parsed.problems.join("; "));
  return parsed;
}

function problemsOf(text: string): readonly string[] {
  const parsed = parsePolicy(text);
  if (parsed.outcome === "read") throw new Error("it was read");
  return parsed.problems;
}

test("a rule has conditions, decisions and limits", () => {
  const { policy, prefixes } = read(`
  - name: staff
    who: { domains: [Example.COM, "*.bücher.example"], users: [Alice@Example.com, 4f1c], networks: [10.1.2.3/8, "fd00::/8"] }
    host: allow
  - { name: limits, guests: 20, longest: 8h, idle: 30m, alone: 90s, sessions: 3 }
`);
  expect(policy.rules).toEqual([
    {
      name: "staff",
      who: {
        domains: new Set(["example.com", "*.xn--bcher-kva.example"]),
        users: new Set(["alice@example.com", "4f1c", "@"]),
        networks: new Set(["10.0.0.0/8", "253.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0/8"]),
      },
      hosts: {},
      host: "allow",
      limits: {},
      clients: [],
    },
    {
      name: "limits",
      who: {},
      hosts: {},
      limits: {
        guests: 20,
        sessions: 3,
        longestMs: 28_800_000,
        idleMs: 1_800_000,
        aloneMs: 90_000,
      },
      clients: [],
    },
  ]);
  expect(prefixes).toEqual([8]);
  expect(policy.warnings).toEqual([]);
});

test("a policy in JSON is read too", () => {
  const json = {
    version: 1,
    otherwise: { host: "allow", join: "allow" },
    rules: [{ name: "a", host: "deny" }],
  };
  expect(parsePolicy(JSON.stringify(json))).toMatchObject({ outcome: "read" });
});

describe("mistakes are named with their place", () => {
  test.each([
    {
      what: "an empty file",
      text: "",
      problem: "the file is empty; without a policy, unset CT_POLICY",
    },
    {
      what: "only a comment",
      text: "# nothing\n",
      problem: "the file is empty; without a policy, unset CT_POLICY",
    },
    { what: "no rules", text: `${HEAD}rules: []\n`, problem: "line 3: rules: there are no rules" },
    {
      what: "a newer version",
      text: "version: 2\nrules: {}\n",
      problem: "version 2 is not known here; this version reads 1",
    },
    {
      what: "another word",
      text: `${HEAD}rules:\n  - name: a\n    host: maybe\n`,
      problem: /^line 5: rule 1, host: .*"allow"/,
    },
    {
      what: "a misspelt key",
      text: `${HEAD}rules:\n  - name: a\n    hots: allow\n`,
      problem: /^line 4: rule 1: .*"hots"/,
    },
    {
      what: "a network",
      text: `${HEAD}rules:\n  - name: a\n    host: deny\n    who:\n      networks: [10.0.0.0/99]\n`,
      problem:
        'line 7: rule 1, who.networks.0: "10.0.0.0/99" is not a network like 10.0.0.0/8 or fd00::/8',
    },
    {
      what: "a domain",
      text: `${HEAD}rules:\n  - name: a\n    host: deny\n    who: { domains: ["@example.com"] }\n`,
      problem:
        'line 6: rule 1, who.domains.0: "@example.com" is not a domain like example.com or *.example.com',
    },
    {
      what: "a time",
      text: `${HEAD}rules:\n  - name: a\n    idle: 5 minutes\n`,
      problem: 'line 5: rule 1, idle: "5 minutes" is not a time like 90s, 30m, 8h or 2d',
    },
    {
      what: "an empty list",
      text: `${HEAD}rules:\n  - name: a\n    host: allow\n    who: { groups: [] }\n`,
      problem: "line 6: rule 1, who.groups: the list is empty, so that nobody is meant",
    },
    {
      what: "markup in a name",
      text: `${HEAD}rules:\n  - name: "a\\u001b[2J"\n    host: deny\n`,
      problem: "line 4: rule 1, name: must not have control characters",
    },
    {
      what: "the same name twice",
      text: `${HEAD}rules:\n  - { name: a, host: deny }\n  - { name: a, join: deny }\n`,
      problem: "rule 2 (a): rule 1 has the same name",
    },
    {
      what: "a rule that says nothing",
      text: `${HEAD}rules:\n  - { name: a, who: { users: [x] } }\n`,
      problem: /^rule 1 \(a\): it says nothing/,
    },
    {
      what: "hosts without join",
      text: `${HEAD}rules:\n  - { name: a, host: deny, hosts: { users: [x] } }\n`,
      problem: "rule 1 (a): hosts says whose sessions are joined, so it needs join or readOnly",
    },
    {
      what: "a reason without a refusal",
      text: `${HEAD}rules:\n  - { name: a, host: allow, reason: because }\n`,
      problem: /^rule 1 \(a\): reason is shown to people who are refused/,
    },
    { what: "broken YAML", text: "version: 1\nrules: [\n", problem: /at line 3/ },
    {
      what: "a key twice",
      text: "version: 1\nversion: 1\n",
      problem: /Map keys must be unique at line 2/,
    },
    { what: "a list", text: "- a\n", problem: /^line 1: / },
    {
      what: "aliases",
      text: "version: 1\nrules: [&a { name: a, host: deny }, *a]\n",
      problem: "aliases (&name, *name) are not allowed",
    },
    {
      what: "ten megabytes",
      text: `# ${"x".repeat(10 * 1024 * 1024)}`,
      problem: `the file is larger than ${MAX_POLICY_BYTES / 1024 / 1024} MiB`,
    },
  ])("a mistake in a policy is named with its place: $what", ({ text, problem }) => {
    const [first] = problemsOf(text);
    if (typeof problem === "string") expect(first).toBe(problem);
    else expect(first).toMatch(problem);
  });

  test("many mistakes in a policy are not all shown", () => {
    const rules = Array.from({ length: 50 }, (_, index) => `  - { name: r${index}, host: x }`);
    const problems = problemsOf(`${HEAD}rules:\n${rules.join("\n")}`);
    expect(problems).toHaveLength(11);
    expect(problems.at(-1)).toBe("and 40 more");
  });
});

test("a part of a policy that is probably not meant is a warning", () => {
  const { policy } = read(
    `
  - { name: everyone, host: allow }
  - { name: not bots, who: { apiKeys: ["*"] }, host: deny }
  - { name: new clients, clients: { "Visual Studio Code": 0.3.1 } }
`.replace("0.3.1", '"0.3.1"'),
  );
  expect(policy.warnings).toEqual([
    'rule 2 (not bots) never applies: "everyone" is for everyone and comes before it',
    "rule 3 (new clients): clients can claim any version, so this is guidance, no protection",
  ]);
  expect(policy.rules[2]?.clients).toEqual([{ name: "visual studio code", atLeast: [0, 3, 1] }]);
});
