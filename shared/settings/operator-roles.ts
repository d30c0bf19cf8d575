/** What operators may do: by their groups at an identity provider (`CT_DASHBOARD_GROUPS`), or by a token's scopes. Pure. */
import { z } from "zod";

/**
 * `read`: see everything. `drain`: drain, suspend and resume workers. `sessions`: end and lock sessions, remove people and sign
 * them out.
 */
export const PERMISSIONS = ["read", "drain", "sessions"] as const;
export type Permission = (typeof PERMISSIONS)[number];

/** From the least to the most powerful. */
export const ROLES = ["view", "operate", "admin"] as const;
export type OperatorRole = (typeof ROLES)[number];

export const PERMISSIONS_OF: Readonly<Record<OperatorRole, readonly Permission[]>> = {
  view: ["read"],
  operate: ["read", "drain"],
  admin: PERMISSIONS,
};

/** The groups whose members have each role. */
export type RoleGroups = Readonly<Partial<Record<OperatorRole, readonly string[]>>>;

const jsonSchema = z.partialRecord(z.enum(ROLES), z.array(z.string().min(1)));

/** The groups in `text`, or a problem for the operator. */
export function parseRoleGroups(text: string): RoleGroups | string {
  if (text.trim().startsWith("{")) return parseJson(text);
  const groups: Partial<Record<OperatorRole, string[]>> = {};
  for (const entry of text.split(",")) {
    const colon = entry.indexOf(":");
    const role = ROLES.find((one) => one === entry.slice(0, Math.max(0, colon)).trim());
    const group = entry.slice(colon + 1).trim();
    if (role === undefined || group === "") {
      return `${JSON.stringify(entry.trim())} is not a role and a group; use view:GROUP, operate:GROUP or admin:GROUP, or JSON for groups with commas: {"admin":["cn=ops,dc=example"]}`;
    }
    groups[role] = [...(groups[role] ?? []), group];
  }
  return groups;
}

function parseJson(text: string): RoleGroups | string {
  try {
    const parsed = jsonSchema.safeParse(JSON.parse(text));
    return parsed.success
      ? (parsed.data as RoleGroups)
      : 'use {"admin":["GROUP"]}, with the roles view, operate and admin';
  } catch {
    return "it begins like JSON but is not";
  }
}

/** The most powerful role of a member of `groups`; undefined: none. */
export function roleOf(roles: RoleGroups, groups: ReadonlySet<string>): OperatorRole | undefined {
  return [...ROLES].reverse().find((role) => roles[role]?.some((group) => groups.has(group)));
}
