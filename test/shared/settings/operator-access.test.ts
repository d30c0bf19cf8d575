/** Who may do what on the dashboard: groups with roles, and tokens with scopes. */
import { describe, expect, test } from "vitest";
import { parseRoleGroups, roleOf } from "../../../shared/settings/operator-roles.ts";
import { parseOperatorTokens } from "../../../shared/settings/operator-tokens.ts";

const TOKEN = "t".repeat(32);

describe("groups", () => {
  test("the groups of operators have roles, of which the most powerful one counts", () => {
    const roles = parseRoleGroups("view:staff, view:guests,admin:org:owners,operate:ops");
    if (typeof roles === "string") throw new Error(roles);
    expect(roles).toEqual({ view: ["staff", "guests"], operate: ["ops"], admin: ["org:owners"] });
    expect(roleOf(roles, new Set(["staff", "ops"]))).toBe("operate");
    expect(roleOf(roles, new Set(["org:owners", "staff"]))).toBe("admin");
    expect(roleOf(roles, new Set(["others"]))).toBeUndefined();
  });

  test("the groups of operators with commas are given as JSON", () => {
    const groups = { admin: ["cn=ops,dc=example"] };
    expect(parseRoleGroups(JSON.stringify(groups))).toEqual(groups);
  });

  test.each([
    ["staff", /"staff" is not a role and a group/],
    ["root:staff", /use view:GROUP, operate:GROUP or admin:GROUP/],
    ["view:", /is not a role/],
    ["view:a,,admin:b", /"" is not a role/],
    ['{"admin":"staff"}', /use \{"admin":\["GROUP"\]\}/],
    ['{"root":["staff"]}', /roles view, operate and admin/],
    ['{"admin":', /begins like JSON/],
  ])("the groups of operators %j are refused with what to do", (text, problem) => {
    expect(parseRoleGroups(text)).toMatch(problem);
  });
});

describe("tokens", () => {
  test("the tokens of operators have a name and scopes", () => {
    expect(parseOperatorTokens(`ci:read+drain:${TOKEN},\nbackup:read:${TOKEN}2==`)).toEqual([
      { name: "ci", scopes: ["read", "drain"], token: TOKEN },
      { name: "backup", scopes: ["read"], token: `${TOKEN}2==` },
    ]);
  });

  test.each([
    [TOKEN, /entry 1: use the scopes/],
    [`ci:${TOKEN}`, /entry 1: use the scopes read, drain, sessions/],
    [`ci:admin:${TOKEN}`, /entry 1: use the scopes/],
    ["ci:read:short", /entry 1: use a token of 32/],
    [`:read:${TOKEN}`, /entry 1: use NAME:SCOPES:TOKEN/],
    [`a:read:${TOKEN},a:read:${TOKEN}x`, /entry 2: an earlier entry has the same name/],
    [`a:read:${TOKEN},b:read:${TOKEN}`, /entry 2: an earlier entry has the same name or token/],
  ])(
    "the tokens of operators %j are refused by their position, without the token",
    (text, problem) => {
      const found = parseOperatorTokens(text);
      expect(found).toMatch(problem);
      expect(found).not.toContain(TOKEN);
      expect(found).not.toContain("short");
    },
  );
});
