/** `ct-edge sign-out`: ends what a person's sign-in at an identity provider allows. */
import type { Command } from "commander";
import { escapeForTerminal, escapeJson } from "../../../shared/logs/escape.ts";
import {
  emailKey,
  findSignIns,
  nameKey,
  type SignIn,
  userKey,
} from "../../../shared/sign-ins/sign-in.ts";
import { signOutByOperator } from "../../../shared/sign-ins/sign-out.ts";
import { CommandError } from "../../output/errors.ts";
import { type CommonFlags, createStoreCommand } from "../command.ts";
import { commandSender } from "../command-sender.ts";

export function signOutCommand(): Command {
  return createStoreCommand<CommonFlags>({
    name: "sign-out",
    description:
      "Ends the sign-ins of a person at an identity provider: the person is out of all sessions within 5 s, and has to sign in again.",
    argument: {
      name: "<person>",
      description: "The person's email address, or name, or user id.",
    },
    async run({ store }, { json }, person) {
      const signIns = await findSignIns(store, [
        userKey(person),
        emailKey(person),
        nameKey(person),
      ]);
      const { id, name } = onlyUser(signIns, person);
      const message = await signOutByOperator(store, signIns, commandSender());
      if (json === true) {
        const output = { user: id, name, signIns: signIns.length, outcome: "done", message };
        return { out: `${escapeJson(output, 2)}\n` };
      }
      return { out: `sign-out ${escapeForTerminal(name)}: ${message}\n` };
    },
  });
}

/** The user whose sign-ins these are. Throws `CommandError`. Pure. */
export function onlyUser(signIns: readonly Pick<SignIn, "user">[], person: string): SignIn["user"] {
  const byId = new Map(signIns.map(({ user }) => [user.id, user]));
  const [only] = byId.values();
  const shown = escapeForTerminal(person);
  if (only === undefined) {
    throw new CommandError(
      `nobody called ${shown} is signed in at an identity provider; give a name, an email address or a user id`,
    );
  }
  if (byId.size === 1) return only;
  const people = [...byId.values()].map(({ id, email }) => email ?? id).join(", ");
  throw new CommandError(
    `several people are called ${shown}; give the address or id of one of them: ${escapeForTerminal(people)}`,
  );
}
