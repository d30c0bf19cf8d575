/** What the commands about one session have in common: they find it, tell its worker, and print what came of it. */
import type { EdgeCommand } from "../../../shared/control/command.ts";
import { escapeForTerminal } from "../../../shared/logs/escape.ts";
import type { SessionRecord, Store } from "../../../shared/store/store.ts";
import { CommandError } from "../../output/errors.ts";
import { formatKey } from "../../output/format.ts";
import type { Output } from "../command.ts";
import { sendAsOperator } from "../command-sender.ts";
import { findSessionId } from "./events.ts";

/** The session whose id begins with `given`. Throws `CommandError`. */
export async function findSession(store: Store, given: string): Promise<SessionRecord> {
  const sessionId = await findSessionId(store, given);
  const record = await store.findSession(sessionId);
  if (record !== undefined && record.state !== "closed") return record;
  throw new CommandError(`session ${formatKey(sessionId, false)} has ended`);
}

/** `what`: for people, like `lock aB3xY9…`. `details`: fields of the JSON beside session, outcome and message. */
export async function tellSession(
  store: Store,
  { id, owner }: SessionRecord,
  command: EdgeCommand,
  { what, details }: { readonly what: string; readonly details: object },
): Promise<Output> {
  const answer = await sendAsOperator(store, owner, command);
  if (answer === "no answer") {
    throw new CommandError(
      `${what}: worker ${owner} did not respond; it may be hung or gone, see \`ct-edge list\``,
    );
  }
  const { outcome, message } = answer;
  const text = `${what}: ${escapeForTerminal(message)}`;
  if (outcome !== "done") throw new CommandError(text);
  return {
    json: { session: formatKey(id, false), ...details, outcome, message },
    out: `${text}\n`,
  };
}
