/** The person whom an operator means, by an email address, a name or a user id. */
import { EdgeError } from "../base/errors.ts";
import { escapeForTerminal } from "../logs/escape.ts";
import type { SignIn } from "./sign-in.ts";

/** Nobody is called so, or several are. The message is for the operator. */
export class UnknownPersonError extends EdgeError {
  readonly code = "EDGE_UNKNOWN_PERSON";
}

/** The user whose sign-ins these are. Throws `UnknownPersonError`. Pure. */
export function onlyUser(signIns: readonly Pick<SignIn, "user">[], person: string): SignIn["user"] {
  const byId = new Map(signIns.map(({ user }) => [user.id, user]));
  const [only] = byId.values();
  const shown = escapeForTerminal(person);
  if (only === undefined) {
    throw new UnknownPersonError(
      `nobody called ${shown} is signed in at an identity provider; give a name, an email address or a user id`,
    );
  }
  if (byId.size === 1) return only;
  const people = [...byId.values()].map(({ id, email }) => email ?? id).join(", ");
  throw new UnknownPersonError(
    `several people are called ${shown}; give the address or id of one of them: ${escapeForTerminal(people)}`,
  );
}
