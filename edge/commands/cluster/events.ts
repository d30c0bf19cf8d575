/**
 * `ct-edge events`: the ownership history of sessions, the newest event last.
 */

import { type Command, Option } from "commander";
import { isSessionId, type SessionId } from "../../../shared/base/ids.ts";
import { unparsableRecords } from "../../../shared/cluster/format.ts";
import { readEvents } from "../../../shared/cluster/history.ts";
import { sessionIds } from "../../../shared/cluster/read.ts";
import { escapeJson } from "../../../shared/logs/escape.ts";
import type { Store, StoredEvent } from "../../../shared/store/store.ts";
import { MAX_EVENTS } from "../../../shared/store/streams.ts";
import { CommandError } from "../../output/errors.ts";
import { formatKey, isoTime } from "../../output/format.ts";
import { table } from "../../output/table.ts";
import { type CommonFlags, createStoreCommand, fullOption, limitOption } from "../command.ts";
import type { StoreQuery } from "../with-store.ts";

/** What `--json` prints in each line. Fields are added, never changed. */
export interface ListedEvent {
  /** Store time, ISO 8601 in UTC; `atMs` is the same in ms since the epoch. */
  readonly at: string;
  readonly atMs: number;
  readonly kind: StoredEvent["kind"];
  /** The beginning of its id, or all of it with `--full`. */
  readonly session: string;
  readonly worker: string;
  readonly epoch: number;
  readonly cause: string;
}

interface Flags extends CommonFlags {
  readonly limit: number;
  readonly session?: string;
}

const STANDARD_LIMIT = 100;
/** When several ids begin with the given prefix, this many are named, each with this many more characters. */
const MAX_NAMED = 5;
const NAMED_CHARS = 4;

export function eventsCommand(): Command {
  return createStoreCommand<Flags>({
    name: "events",
    description:
      "Shows which worker got or lost a session, who joined and left, and why; the newest last.",
    options: [
      new Option("--session <id>", "Show only this session; the beginning of its id is enough."),
      limitOption("Show at most this many events, the newest.", STANDARD_LIMIT, MAX_EVENTS),
      fullOption(),
    ],
    async run(query, { json, full, limit, session }) {
      const events = await readHistory(query, { limit, session });
      const listed = events.map((event) => describeEvent(event, full === true));
      const ignored = query.ignored("event");
      const note = ignored === 0 ? undefined : `! ${unparsableRecords("Events", ignored)}`;
      if (!json) return { out: eventsTable(listed) + (note === undefined ? "" : `${note}\n`) };
      const out = listed.map((event) => `${escapeJson(event)}\n`).join("");
      return { out, notes: note === undefined ? [] : [note] };
    },
  });
}

// --- reading ---

/** The newest events. `session` is an id or the beginning of one. Throws `CommandError` unless it matches one session. */
async function readHistory(
  { store }: StoreQuery,
  { limit, session }: { limit: number; session: string | undefined },
): Promise<readonly StoredEvent[]> {
  if (session === undefined) return readEvents(store, { limit });
  const given = session.replace(/(…|\.\.\.)$/, "");
  if (isSessionId(given)) return readEvents(store, { limit, sessionId: given });
  if (!/^[A-Za-z0-9]{1,23}$/.test(given)) {
    throw new CommandError(
      "--session must be the id of a session or its beginning: up to 24 letters and digits, as `ct-edge sessions` prints it",
    );
  }
  const sessionId = await findSessionId(store, given);
  return readEvents(store, { limit, sessionId });
}

/**
 * The session whose id begins with `given`, of the current sessions and those in the history. Throws `CommandError` unless
 * exactly one does.
 */
export async function findSessionId(store: Store, given: string): Promise<SessionId> {
  const all = await readEvents(store, { limit: MAX_EVENTS });
  const ids = [...all.map(({ sessionId }) => sessionId), ...(await sessionIds(store))];
  return pickSession(given, ids);
}

/** The one of `ids` that begins with `given`. Throws `CommandError` when none or several do. Pure. */
export function pickSession(given: string, ids: readonly SessionId[]): SessionId {
  const found = [...new Set(ids)].filter((id) => id.startsWith(given));
  const [only] = found;
  if (only === undefined) {
    throw new CommandError(
      `no session id begins with ${given}; \`ct-edge sessions\` and \`ct-edge events\` list sessions`,
    );
  }
  if (found.length === 1) return only;
  const chars = Math.min(only.length / 2, given.length + NAMED_CHARS);
  const names = found.slice(0, MAX_NAMED).map((id) => `${id.slice(0, chars)}…`);
  const more = found.length - names.length;
  throw new CommandError(
    `${found.length} session ids begin with ${given}: ${names.join(", ")}${more > 0 ? ` and ${more} more` : ""}; give more characters (--full shows whole ids)`,
  );
}

/** Pure. */
export function describeEvent(event: StoredEvent, isFull: boolean): ListedEvent {
  const { atMs, kind, sessionId, worker, epoch, cause } = event;
  const session = formatKey(sessionId, isFull);
  return { at: isoTime(atMs), atMs, kind, session, worker, epoch, cause };
}

// --- text ---

/** Pure. */
export function eventsTable(events: readonly ListedEvent[]): string {
  if (events.length === 0) return "No events.\n";
  const rows = events.map((event) => {
    const { at, kind, session, worker, epoch, cause } = event;
    return [at, kind, session, worker, epoch, cause];
  });
  return table("TIME | EVENT | SESSION | WORKER | >EPOCH | CAUSE", rows);
}
