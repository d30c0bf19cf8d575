/**
 * `ct-edge lock` and `unlock`: whether new guests are let into a session.
 */
import type { Command } from "commander";
import { formatKey } from "../../output/format.ts";
import { createStoreCommand } from "../command.ts";
import { findSession, tellSession } from "./session-command.ts";

const DESCRIPTIONS = {
  lock: "Lets no new guests into a session. Those who are in it stay, and may return.",
  unlock: "Leaves it to the host again who is let into a session.",
} as const;

export function lockCommand(kind: keyof typeof DESCRIPTIONS): Command {
  return createStoreCommand({
    name: kind,
    description: DESCRIPTIONS[kind],
    argument: { name: "<session>", description: "The beginning of its id is enough." },
    async run({ store }, { json }, given) {
      const record = await findSession(store, given);
      const { id: sessionId } = record;
      const isLocked = kind === "lock";
      return tellSession(
        store,
        record,
        { kind: "lock-session", sessionId, isLocked },
        {
          what: `${kind} ${formatKey(sessionId, false)}`,
          json: json === true,
          details: { locked: isLocked },
        },
      );
    },
  });
}
