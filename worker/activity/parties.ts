/** Who an event is about. */
import type { Party } from "../../shared/activity/event.ts";
import type { Sender } from "../../shared/control/command.ts";
import type { UserRecord } from "../../shared/store/user-record.ts";

/** Where somebody came from, as far as it is known. */
export interface Origin {
  readonly address?: string | undefined;
  readonly client?: string | undefined;
}

export function userParty(
  {
    id,
    name,
    email,
    authProvider: way,
  }: Pick<UserRecord, "id" | "name"> & {
    readonly email?: string | undefined;
    readonly authProvider?: string | undefined;
  },
  { address, client }: Origin = {},
): Party {
  return { type: "user", id, name, email, way, address, client };
}

/** Undefined: the program of another version has sent the command, which does not say. */
export function operatorParty(by: Sender | undefined): Party {
  return { type: "operator", ...by };
}

/** The rule of the policy that decides. */
export function ruleParty(name: string): Party {
  return { type: "rule", name };
}

/** What a decision of the policy rests on; it says it for everyone of whom no rule says anything. */
export function ruleOf({ rule }: { readonly rule: string | undefined }): string {
  return rule ?? "otherwise";
}

export const EDGE: Party = { type: "edge" };
