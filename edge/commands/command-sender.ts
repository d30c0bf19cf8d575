/** Sends commands in the name of who runs this one, for the audit log. */

import { hostname, userInfo } from "node:os";
import { systemClock } from "../../shared/base/clock.ts";
import type { WorkerId } from "../../shared/base/ids.ts";
import type { CommandAnswer, EdgeCommand, Sender } from "../../shared/control/command.ts";
import { sendCommand } from "../../shared/control/send.ts";
import type { Store } from "../../shared/store/store.ts";

/** Like `sendCommand`. */
export function sendAsOperator(
  store: Store,
  to: WorkerId,
  command: EdgeCommand,
): Promise<CommandAnswer | "no answer"> {
  return sendCommand({ store, clock: systemClock, by: commandSender() }, to, command);
}

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
