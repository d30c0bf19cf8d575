/** `ct-edge sign-out`: ends what a person's sign-in at an identity provider allows. */
import type { Command } from "commander";
import { escapeForTerminal } from "../../../shared/logs/escape.ts";
import { onlyUser } from "../../../shared/sign-ins/only-user.ts";
import { emailKey, findSignIns, nameKey, userKey } from "../../../shared/sign-ins/sign-in.ts";
import { signOutByOperator } from "../../../shared/sign-ins/sign-out.ts";
import { type CommonFlags, createStoreCommand } from "../command.ts";
import { commandSender } from "../command-sender.ts";

export function signOutCommand(): Command {
  return createStoreCommand<CommonFlags>({
    name: "sign-out",
    description:
      "Ends the sign-ins of a person at an identity provider: the person is out of all sessions within 5 s, and has to sign in again.",
    args: { "<person>": "The person's email address, or name, or user id." },
    async run({ store }, _flags, person) {
      const signIns = await findSignIns(store, [
        userKey(person),
        emailKey(person),
        nameKey(person),
      ]);
      const { id, name } = onlyUser(signIns, person);
      const message = await signOutByOperator(store, signIns, commandSender());
      return {
        json: { user: id, name, signIns: signIns.length, outcome: "done", message },
        out: `sign-out ${escapeForTerminal(name)}: ${message}\n`,
      };
    },
  });
}
