/** Who runs a command, for the audit log. */

import { hostname, userInfo } from "node:os";
import type { Sender } from "../../shared/control/command.ts";

/** The account and the machine, like `ada@build-7`. */
export function commandSender(): Sender {
  return { name: `${accountName()}@${hostname()}`, way: "ct-edge" };
}

function accountName(): string {
  try {
    return userInfo().username;
  } catch {
    // A container may run as a number that has no name.
    return `user ${process.getuid?.() ?? "unknown"}`;
  }
}
