/** Who uses the operators' pages and their JSON. */
import type { FastifyRequest } from "fastify";
import type { Permission } from "../../shared/settings/operator-roles.ts";

export interface Operator {
  /** For the log, and the page. */
  readonly name: string;
  /** How it has signed in: with the password of the settings, a token of them, or at an identity provider. */
  readonly way: "password" | "token" | "provider";
  readonly permissions: readonly Permission[];
  /** At the provider, and when its token expires (wall time, ms). */
  readonly signIn?: { readonly id: string; readonly untilMs: number } | undefined;
}

/** What an operator is told who may not do something. */
export function missing(permission: Permission): string {
  return `This needs the permission "${permission}"; ask an administrator of this server`;
}

/** Who has sent a request of the dashboard's routes, which are for operators only. */
export function operatorOf(request: FastifyRequest): Operator {
  return request.getDecorator<Operator>("operator");
}
