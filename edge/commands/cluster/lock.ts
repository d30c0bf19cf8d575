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
    args: { "<session>": "The beginning of its id is enough." },
    async run({ store }, _flags, given) {
      const record = await findSession(store, given);
      const { id: sessionId } = record;
      const isLocked = kind === "lock";
      const command = { kind: "lock-session", sessionId, isLocked } as const;
      const what = `${kind} ${formatKey(sessionId, false)}`;
      return tellSession(store, record, command, { what, details: { locked: isLocked } });
    },
  });
}
