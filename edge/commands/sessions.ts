/**
 * `ct-edge sessions`: every session that is not closed, also those whose owner is gone, with who is in it.
 */
import type { Command } from "commander";
import { systemClock } from "../../shared/base/clock.ts";
import { type OwnerState, ownerStateOf } from "../../shared/cluster/describe.ts";
import { STORE_NOT_SETTLED, unparsableRecords } from "../../shared/cluster/format.ts";
import { createClusterReader, readSessions } from "../../shared/cluster/read.ts";
import { cut, escapeJson } from "../../shared/logs/escape.ts";
import type { Membership, SessionRecord } from "../../shared/store/store.ts";
import { formatAge, formatKey } from "../output/format.ts";
import { type Column, table } from "../output/table.ts";
import { type CommonFlags, createStoreCommand, fullOption, limitOption } from "./command.ts";
import type { StoreQuery } from "./with-store.ts";

/** What `--json` prints. Fields are added, never changed. */
export interface SessionsResponse {
  /** By owner, the oldest first. */
  readonly sessions: readonly ListedSession[];
  /** How many there are, listed or not. */
  readonly total: number;
  /** Sessions and parts of them that cannot be parsed. */
  readonly ignored: number;
  /** False while the store is new or was emptied: an owner that is missing may just not have said yet that it is there. */
  readonly settled: boolean;
}

interface ListedSession {
  /** The beginning of it, or all of it with `--full`. So is `alias`. */
  readonly id: string;
  readonly state: Exclude<SessionRecord["state"], "closed">;
  readonly owner: string;
  readonly ownerState: OwnerState;
  /** With `released`: who may take it. */
  readonly heir?: string;
  readonly epoch: number;
  readonly alias?: string;
  /** Store time in ms since the epoch. */
  readonly createdMs: number;
  readonly ageMs: number;
  readonly peers: readonly { name: string; host: boolean; client: string }[];
}

interface Flags extends CommonFlags {
  readonly limit: number;
}

const STANDARD_LIMIT = 1000;
const MAX_LIMIT = 1_000_000;

export function sessionsCommand(): Command {
  return createStoreCommand<Flags>({
    name: "sessions",
    description: "Lists the sessions that are not closed, and who is in them.",
    options: [
      limitOption("List this many sessions at most.", STANDARD_LIMIT, MAX_LIMIT),
      fullOption(),
    ],
    async ask(withStore, { json, full, limit }) {
      const answer = await findSessions(withStore, { limit, isFull: full === true });
      return { out: json ? `${escapeJson(answer, 2)}\n` : sessionsTable(answer) };
    },
  });
}

// --- what is known ---

/** Asks the store for up to `limit` sessions. Each is as it was at one moment; all of them were asked one after the other. */
export async function findSessions(
  { store, ignored }: StoreQuery,
  how: { limit: number; isFull: boolean },
): Promise<SessionsResponse> {
  const { membership, nowMs, ownerById } = await createClusterReader({
    store,
    clock: systemClock,
  }).read();
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

/** Undefined when it has been closed meanwhile. Pure. */
export function describeSession(
  record: SessionRecord,
  seen: { membership: Membership; nowMs: number; isFull: boolean },
): ListedSession | undefined {
  const { id, state, owner, successor, epoch, alias, createdMs, peers } = record;
  if (state === "closed") return undefined;
  return {
    id: formatKey(id, seen.isFull),
    state,
    owner,
    ownerState: ownerStateOf(record, seen.membership.members),
    ...(successor !== undefined && { heir: successor }),
    epoch,
    ...(alias !== undefined && { alias: formatKey(alias, seen.isFull) }),
    createdMs,
    ageMs: Math.max(0, seen.nowMs - createdMs),
    peers: peers.map(({ user, host, client }) => ({ name: user.name, host, client })),
  };
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

// --- as people read it ---

const COLUMNS: readonly Column[] = [
  { title: "SESSION" },
  { title: "STATE" },
  { title: "OWNER" },
  { title: "EPOCH", align: "right" },
  { title: "AGE", align: "right" },
  { title: "HOSTS", align: "right" },
  { title: "GUESTS", align: "right" },
  { title: "ALIAS" },
  { title: "NAMES" },
];
/** Names in one line. */
const MAX_NAMES = 5;
const MAX_NAME_CHARS = 40;

/** The table, and a line for each thing that an operator should know. Pure. */
export function sessionsTable(answer: SessionsResponse): string {
  const { sessions, total, ignored, settled } = answer;
  const shown = sessions.length === 0 ? "No session.\n" : table(COLUMNS, sessions.map(row));
  const notes: string[] = [];
  if (total > sessions.length) {
    notes.push(`${sessions.length} of ${total} sessions are listed; --limit lists more.`);
  }
  if (ignored > 0) notes.push(`! ${unparsableRecords("Session records", ignored)}`);
  if (!settled) notes.push(`! ${STORE_NOT_SETTLED}`);
  return shown + notes.map((note) => `${note}\n`).join("");
}

function row(session: ListedSession): string[] {
  const { id, state, heir, owner, ownerState, epoch, ageMs, alias, peers } = session;
  const hosts = peers.filter(({ host }) => host);
  return [
    id,
    heir === undefined ? state : `${state} to ${heir}`,
    ownerState === "lives" ? owner : `${owner} (${ownerState})`,
    String(epoch),
    formatAge(ageMs),
    String(hosts.length),
    String(peers.length - hosts.length),
    alias ?? "",
    namesOf(peers),
  ];
}

/** The host comes first. A name is cut before others are, so that a long one hides nobody. */
function namesOf(peers: ListedSession["peers"]): string {
  const sorted = [...peers].sort((a, b) => Number(b.host) - Number(a.host));
  const names = sorted.slice(0, MAX_NAMES).map(({ name }) => cut(name, MAX_NAME_CHARS));
  const more = peers.length - names.length;
  return names.join(", ") + (more > 0 ? ` and ${more} more` : "");
}
