/**
 * `ct-edge sessions`: every session that is not closed, even without a living owner, and its peers.
 */
import type { Command } from "commander";
import { formatAge } from "../../../shared/base/age.ts";
import { systemClock } from "../../../shared/base/clock.ts";
import { type OwnerState, ownerStateOf } from "../../../shared/cluster/describe.ts";
import { STORE_NOT_SETTLED, unparsableRecords } from "../../../shared/cluster/format.ts";
import { clusterReader, readSessions } from "../../../shared/cluster/read.ts";
import { cut } from "../../../shared/logs/escape.ts";
import type { Membership, SessionRecord } from "../../../shared/store/store.ts";
import { formatKey } from "../../output/format.ts";
import { type Cell, table } from "../../output/table.ts";
import { type CommonFlags, createStoreCommand, fullOption, limitOption } from "../command.ts";
import type { StoreQuery } from "../with-store.ts";

/** What `--json` prints. Fields are added, never changed. */
export interface SessionsResponse {
  /** Sorted by owner, then the oldest first. */
  readonly sessions: readonly ListedSession[];
  /** All sessions, listed or not. */
  readonly total: number;
  /** Records of sessions, or parts of them, that cannot be parsed. */
  readonly ignored: number;
  /** False while the store is new or was emptied: a missing owner may not have registered again. */
  readonly settled: boolean;
}

interface ListedSession {
  /** Its beginning, or all of it with `--full`. So is `alias`. */
  readonly id: string;
  readonly state: Exclude<SessionRecord["state"], "closed">;
  readonly owner: string;
  readonly ownerState: OwnerState;
  /** Of a `released` session: the successor that may take it. */
  readonly successor?: string;
  /** `successor` under its former name. */
  readonly heir?: string;
  readonly epoch: number;
  /** No new guests are let in. */
  readonly locked?: true;
  readonly alias?: string;
  /** Store time in ms since the epoch. */
  readonly createdMs: number;
  readonly ageMs: number;
  readonly peers: readonly { id: string; name: string; host: boolean; client: string }[];
}

interface Flags extends CommonFlags {
  readonly limit: number;
}

const STANDARD_LIMIT = 1000;
const MAX_LIMIT = 1_000_000;

export function sessionsCommand(): Command {
  return createStoreCommand<Flags>({
    name: "sessions",
    description: "Lists the sessions that are not closed, and the people in them.",
    options: [
      limitOption("List at most this many sessions.", STANDARD_LIMIT, MAX_LIMIT),
      fullOption(),
    ],
    async run(query, { full, limit }) {
      const answer = await findSessions(query, { limit, isFull: full === true });
      return { json: answer, out: () => sessionsTable(answer) };
    },
  });
}

// --- reading ---

/** Reads up to `limit` sessions. Each is consistent in itself; they are not read at the same moment. */
async function findSessions(
  { store, ignored }: StoreQuery,
  how: { limit: number; isFull: boolean },
): Promise<SessionsResponse> {
  const { membership, nowMs, ownerById } = await clusterReader({ store, clock: systemClock })();
  const ids = [...ownerById.keys()];
  const records = await readSessions(store, ids.slice(0, how.limit));
  const sessions = records.flatMap(
    (record) => describeSession(record, { membership, nowMs, isFull: how.isFull }) ?? [],
  );
  sessions.sort((a, b) => compare(a.owner, b.owner) || a.createdMs - b.createdMs);
  return {
    sessions,
    total: ids.length,
    ignored: ignored("session"),
    settled: membership.booted,
  };
}

/** Undefined when the session was closed since its id was read. Pure. */
export function describeSession(
  record: SessionRecord,
  seen: { membership: Membership; nowMs: number; isFull: boolean },
): ListedSession | undefined {
  const { id, state, owner, successor, epoch, locked, alias, createdMs, peers } = record;
  if (state === "closed") return undefined;
  return {
    id: formatKey(id, seen.isFull),
    state,
    owner,
    ownerState: ownerStateOf(record, seen.membership.members),
    // `heir`: the former name, for one version.
    ...(successor !== undefined && { successor, heir: successor }),
    epoch,
    ...(locked !== undefined && { locked }),
    ...(alias !== undefined && { alias: formatKey(alias, seen.isFull) }),
    createdMs,
    ageMs: Math.max(0, seen.nowMs - createdMs),
    peers: peers.map(({ id, user, host, client }) => ({ id, name: user.name, host, client })),
  };
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

// --- text ---

const HEADING = "SESSION | STATE | OWNER | >EPOCH | >AGE | >HOSTS | >GUESTS | ALIAS | NAMES";
/** Names in one row. */
const MAX_NAMES = 5;
const MAX_NAME_CHARS = 40;

/** The table, and a line for each thing that needs attention. Pure. */
export function sessionsTable(answer: SessionsResponse): string {
  const { sessions, total, ignored, settled } = answer;
  const shown = sessions.length === 0 ? "No sessions.\n" : table(HEADING, sessions.map(row));
  const notes: string[] = [];
  if (total > sessions.length) {
    notes.push(`${sessions.length} of ${total} sessions are listed; use --limit to list more.`);
  }
  if (ignored > 0) notes.push(`! ${unparsableRecords("Session records", ignored)}`);
  if (!settled) notes.push(`! ${STORE_NOT_SETTLED}`);
  return shown + notes.map((note) => `${note}\n`).join("");
}

function row(session: ListedSession): Cell[] {
  const { id, state, successor, owner, ownerState, epoch, ageMs, alias, peers } = session;
  const hosts = peers.filter(({ host }) => host);
  return [
    id,
    successor === undefined ? state : `${state} to ${successor}`,
    ownerState === "lives" ? owner : `${owner} (${ownerState})`,
    epoch,
    formatAge(ageMs),
    hosts.length,
    peers.length - hosts.length,
    alias,
    namesOf(peers),
  ];
}

/** Hosts first. Each name is cut on its own, so that a long one does not hide the others. */
function namesOf(peers: ListedSession["peers"]): string {
  const sorted = [...peers].sort((a, b) => Number(b.host) - Number(a.host));
  const names = sorted.slice(0, MAX_NAMES).map(({ name }) => cut(name, MAX_NAME_CHARS));
  const more = peers.length - names.length;
  return names.join(", ") + (more > 0 ? ` and ${more} more` : "");
}
