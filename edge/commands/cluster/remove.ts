/**
 * `ct-edge remove`: takes one guest out of a session.
 */
import { type Command, Option } from "commander";
import { systemClock } from "../../../shared/base/clock.ts";
import { sendCommand } from "../../../shared/control/send.ts";
import { escapeForTerminal, escapeJson } from "../../../shared/logs/escape.ts";
import type { PeerRecord, SessionRecord } from "../../../shared/store/store.ts";
import { CommandError } from "../../output/errors.ts";
import { formatKey } from "../../output/format.ts";
import { type CommonFlags, createStoreCommand } from "../command.ts";
import { findSessionId } from "./events.ts";

/** What `--json` prints. */
interface Removal {
  /** The beginning of the session's id. */
  readonly session: string;
  readonly peer: string;
  readonly name: string;
  readonly outcome: "done";
  readonly message: string;
}

interface Flags extends CommonFlags {
  readonly session: string;
}

export function removeCommand(): Command {
  return createStoreCommand<Flags>({
    name: "remove",
    description:
      "Removes a guest from a session and tells the others. The host decides whether the guest may come back.",
    argument: {
      name: "<person>",
      description: "The guest's name or id in `ct-edge sessions --json`.",
    },
    options: [
      new Option(
        "--session <id>",
        "The session; the beginning of its id is enough.",
      ).makeOptionMandatory(),
    ],
    async run({ store }, { json, session }, person) {
      const sessionId = await findSessionId(store, session);
      const record = await store.findSession(sessionId);
      if (record === undefined)
        throw new CommandError(`session ${formatKey(sessionId, false)} has ended`);
      const peer = findGuest(record, person);
      const command = { kind: "remove-peer", sessionId, peerId: peer.id } as const;
      const answer = await sendCommand({ store, clock: systemClock }, record.owner, command);
      const name = escapeForTerminal(peer.user.name);
      if (answer === "no answer") {
        throw new CommandError(
          `remove ${name}: worker ${record.owner} did not respond; it may be hung or gone`,
        );
      }
      const { outcome, message } = answer;
      if (outcome !== "done")
        throw new CommandError(`remove ${name}: ${escapeForTerminal(message)}`);
      const shown = formatKey(sessionId, false);
      if (!json) return { out: `remove ${name} from ${shown}: ${escapeForTerminal(message)}\n` };
      const result: Removal = {
        session: shown,
        peer: peer.id,
        name: peer.user.name,
        outcome,
        message,
      };
      return { out: `${escapeJson(result, 2)}\n` };
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
