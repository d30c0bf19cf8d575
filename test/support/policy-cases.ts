/** Forty cases of policies: who hosts or joins whom, by which rules, and what those who are refused are shown. */

export type Who = keyof typeof PEOPLE;

/** `groups` undefined: the provider has not told them. */
export const PEOPLE = {
  ada: { email: "ada@example.com", groups: ["staff", "leads"] },
  bob: { email: "bob@dev.example.com", groups: ["contractors"] },
  eve: { email: "eve@elsewhere.example", groups: [] },
  untold: { email: "untold@example.com", groups: undefined },
  unverified: { email: undefined, groups: ["staff"] },
  markup: { email: "m@example.com", groups: ["<b>staff</b>", "staff,ops"] },
  named: "name",
  ci: "API key",
  agent: "API key",
} as const;

const CONTACT = "Contact your administrator.";
const NO_EMAIL = "you have no verified email address";
const NO_GROUPS = "no identity provider has sent your groups";

export interface Case {
  /** Rules, and what is said for everything else: denied, unless it says so. */
  readonly rules: string;
  readonly otherwise?: "allow";
  /** Who hosts, or who joins whom. */
  readonly who: Who;
  readonly of?: Who;
  /** A part of what the person is shown; undefined: it may. */
  readonly refusal?: string;
}

export const CASES: readonly Case[] = [
  // Hosting, by each kind of condition.
  { rules: "{ name: a, host: allow }", who: "named" },
  { rules: "{ name: a, join: allow }", who: "ada", refusal: CONTACT },
  { rules: "{ name: a, who: { domains: [example.com] }, host: allow }", who: "ada" },
  {
    rules: "{ name: a, who: { domains: [example.com] }, host: allow }",
    who: "bob",
    refusal: CONTACT,
  },
  { rules: '{ name: a, who: { domains: ["*.example.com"] }, host: allow }', who: "bob" },
  {
    rules: '{ name: a, who: { domains: ["*.example.com"] }, host: allow }',
    who: "ada",
    refusal: CONTACT,
  },
  { rules: "{ name: a, who: { domains: [EXAMPLE.com] }, host: allow }", who: "ada" },
  {
    rules: "{ name: a, who: { domains: [example.com] }, host: allow }",
    who: "named",
    refusal: NO_EMAIL,
  },
  {
    rules: "{ name: a, who: { domains: [example.com] }, host: allow }",
    who: "unverified",
    refusal: NO_EMAIL,
  },
  {
    rules: "{ name: a, who: { domains: [example.com] }, host: allow }",
    who: "ci",
    refusal: CONTACT,
  },
  { rules: "{ name: a, who: { groups: [staff] }, host: allow }", who: "ada" },
  { rules: "{ name: a, who: { groups: [staff] }, host: allow }", who: "bob", refusal: CONTACT },
  {
    rules: "{ name: a, who: { groups: [staff] }, host: allow }",
    who: "untold",
    refusal: NO_GROUPS,
  },
  { rules: "{ name: a, who: { groups: [staff] }, host: allow }", who: "unverified" },
  { rules: "{ name: a, who: { groups: [staff] }, host: allow }", who: "markup", refusal: CONTACT },
  { rules: '{ name: a, who: { groups: ["<b>staff</b>"] }, host: allow }', who: "markup" },
  { rules: '{ name: a, who: { groups: ["staff,ops"] }, host: allow }', who: "markup" },
  { rules: "{ name: a, who: { users: [Ada@Example.com] }, host: allow }", who: "ada" },
  { rules: "{ name: a, who: { users: [id-of-bob] }, host: allow }", who: "bob" },
  { rules: "{ name: a, who: { users: [id-of-bob] }, host: allow }", who: "eve", refusal: CONTACT },
  { rules: "{ name: a, who: { apiKeys: [ci] }, host: allow }", who: "ci" },
  { rules: "{ name: a, who: { apiKeys: [ci] }, host: allow }", who: "agent", refusal: CONTACT },
  { rules: '{ name: a, who: { apiKeys: ["*"] }, host: allow }', who: "agent" },
  { rules: '{ name: a, who: { apiKeys: ["*"] }, host: allow }', who: "named", refusal: CONTACT },
  { rules: "{ name: a, who: { networks: [127.0.0.0/8] }, host: allow }", who: "eve" },
  {
    rules: "{ name: a, who: { networks: [10.0.0.0/8] }, host: allow }",
    who: "eve",
    refusal: CONTACT,
  },
  {
    rules: "{ name: a, who: { groups: [staff], domains: [example.com] }, host: allow }",
    who: "ada",
  },
  {
    rules: "{ name: a, who: { groups: [leads], domains: [elsewhere.example] }, host: allow }",
    who: "ada",
    refusal: CONTACT,
  },
  // The order of rules, and reasons.
  {
    rules:
      "{ name: a, who: { groups: [staff] }, host: deny, reason: Not today. }, { name: b, host: allow }",
    who: "ada",
    refusal: "Not today.",
  },
  {
    rules:
      "{ name: a, who: { groups: [leads] }, host: allow }, { name: b, who: { groups: [staff] }, host: deny }",
    who: "ada",
  },
  {
    rules: "{ name: a, who: { domains: [rival.example] }, host: deny }",
    otherwise: "allow",
    who: "eve",
  },
  {
    rules: "{ name: a, who: { domains: [rival.example] }, host: deny }",
    otherwise: "allow",
    who: "named",
    refusal: NO_EMAIL,
  },
  // Joining, by guest and by host.
  { rules: "{ name: a, join: allow }", who: "named", of: "ada" },
  { rules: "{ name: a, host: allow }", who: "ada", of: "bob", refusal: CONTACT },
  { rules: "{ name: a, hosts: { groups: [staff] }, join: allow }", who: "eve", of: "ada" },
  {
    rules: "{ name: a, hosts: { groups: [staff] }, join: allow }",
    who: "eve",
    of: "bob",
    refusal: CONTACT,
  },
  {
    rules:
      '{ name: a, who: { apiKeys: ["*"] }, hosts: { domains: [example.com] }, join: deny, reason: No agents here. }',
    otherwise: "allow",
    who: "ci",
    of: "ada",
    refusal: "No agents here.",
  },
  {
    rules:
      '{ name: a, who: { apiKeys: ["*"] }, hosts: { domains: [example.com] }, join: deny, reason: No agents here. }',
    otherwise: "allow",
    who: "ci",
    of: "bob",
  },
  {
    rules: "{ name: a, guests: 0 }",
    otherwise: "allow",
    who: "eve",
    of: "ada",
    refusal: "The session is full",
  },
  {
    rules: "{ name: a, who: { groups: [contractors] }, join: deny, reason: Ask first. }",
    otherwise: "allow",
    who: "bob",
    of: "eve",
    refusal: "Ask first.",
  },
];

/** The file of a case. */
export function policyOf({ rules, otherwise }: Pick<Case, "rules" | "otherwise">): string {
  const verdict = otherwise ?? "deny";
  return `version: 1\notherwise: { host: ${verdict}, join: ${verdict} }\nrules: [${rules}]\n`;
}
