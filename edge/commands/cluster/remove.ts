/**
 * `ct-edge remove`: takes one guest out of a session.
 */
import { type Command, Option } from "commander";
import { escapeForTerminal } from "../../../shared/logs/escape.ts";
import type { PeerRecord, SessionRecord } from "../../../shared/store/store.ts";
import { CommandError } from "../../output/errors.ts";
import { formatKey } from "../../output/format.ts";
import { type CommonFlags, createStoreCommand } from "../command.ts";
import { findSession, tellSession } from "./session-command.ts";

interface Flags extends CommonFlags {
  readonly session: string;
}

export function removeCommand(): Command {
  return createStoreCommand<Flags>({
    name: "remove",
    description:
      "Removes a guest from a session and tells the others. The host decides whether the guest may come back.",
    args: { "<person>": "The guest's name or id in `ct-edge sessions --json`." },
    options: [
      new Option(
        "--session <id>",
        "The session; the beginning of its id is enough.",
      ).makeOptionMandatory(),
    ],
    async run({ store }, { session }, person) {
      const record = await findSession(store, session);
      const { id: sessionId } = record;
      const { id: peerId, user } = findGuest(record, person);
      const command = { kind: "remove-peer", sessionId, peerId } as const;
      const what = `remove ${escapeForTerminal(user.name)} from ${formatKey(sessionId, false)}`;
      return tellSession(store, record, command, {
        what,
        details: { peer: peerId, name: user.name },
      });
    },
  });
}

/** The guest with this id or, if only one has it, this name. Throws `CommandError`. Pure. */
export function findGuest(record: Pick<SessionRecord, "peers">, person: string): PeerRecord {
  const found = record.peers.filter(({ id, user }) => id === person || user.name === person);
  const [only] = found;
  if (only !== undefined && found.length === 1) {
    if (!only.host) return only;
    throw new CommandError(
      `${escapeForTerminal(person)} is the host, without whom the session ends; the dashboard has *end* for that`,
    );
  }
  const names = record.peers
    .filter(({ host }) => !host)
    .map(({ id, user }) => `${user.name} (${id})`);
  const guests =
    names.length === 0 ? "it has no guests" : `its guests: ${escapeForTerminal(names.join(", "))}`;
  throw new CommandError(
    found.length > 1
      ? `several people are called ${escapeForTerminal(person)}; give the id of one of them; ${guests}`
      : `nobody called ${escapeForTerminal(person)} is in the session; ${guests}`,
  );
}
