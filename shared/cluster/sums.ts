/**
 * Sums of the whole cluster, computed from the reports of its workers. Pure. Users are sets of hashes rather than numbers, so
 * that a user with connections to two workers counts once.
 */
import { z } from "zod";
import { incarnationSchema } from "../base/id-schemas.ts";
import type { Incarnation, WorkerId } from "../base/ids.ts";
import { readJson } from "../base/json.ts";

/** Characters of a user's hash: 66 bits, so that a collision among a million users has a probability of 10^-8. */
export const HASH_CHARS = 11;
/** As many as the connections of a worker; a report with this many is within the size limit of the store. */
const MAX_USERS = 20_000;
/** Users who were connected a moment ago, beside all that are. */
export const MAX_RECENT = 2000;

/** All hashes in one string; an array would be a quarter longer. */
const hashes = (max: number) =>
  z
    .string()
    .max(max * HASH_CHARS)
    .regex(/^([A-Za-z0-9_-]{11})*$/)
    .transform((joined): ReadonlySet<string> => new Set(joined.match(/.{11}/g)));

const reportSchema = z.object({
  incarnation: incarnationSchema,
  /** Of the users with an open connection. */
  users: hashes(MAX_USERS),
  /** Of those who have come in within the last minute. Workers of the version before do not report them. */
  recent: hashes(MAX_RECENT).prefault(""),
  sessions: z.number().int().nonnegative(),
  connections: z.number().int().nonnegative(),
  lagMs: z.number().nonnegative(),
});

/** The report of one worker to the others, of the kind `usage` in the store. */
export type WorkerReport = Readonly<z.infer<typeof reportSchema>>;

export function writeReport(report: WorkerReport): string {
  const users = [...report.users].slice(0, MAX_USERS).join("");
  const recent = [...report.recent].slice(0, MAX_RECENT).join("");
  return JSON.stringify({ ...report, users, recent });
}

/** Undefined if `text` is not a valid report; programs that can write to the store may be hostile. */
export function parseReport(text: string): WorkerReport | undefined {
  return readJson(reportSchema, text);
}

export type ClusterSums = ReturnType<typeof sumReports>;

/**
 * The sums over the reports of live workers. A report of an earlier incarnation is ignored, so a worker that ended or
 * restarted since its report does not count.
 */
export function sumReports(
  reports: Readonly<Record<string, WorkerReport>>,
  isLive: (worker: WorkerId, incarnation: Incarnation) => boolean,
) {
  const users = new Set<string>();
  const recent = new Set<string>();
  let workers = 0;
  let sessions = 0;
  let connections = 0;
  let lagMs = 0;
  let worstLagMs = 0;
  for (const [worker, report] of Object.entries(reports)) {
    if (!isLive(worker as WorkerId, report.incarnation)) continue;
    workers++;
    sessions += report.sessions;
    connections += report.connections;
    lagMs += report.lagMs;
    worstLagMs = Math.max(worstLagMs, report.lagMs);
    for (const user of report.users) users.add(user);
    for (const user of report.recent) recent.add(user);
  }
  const mean = workers === 0 ? 0 : Math.round((lagMs / workers) * 1000) / 1000;
  const people: ReadonlySet<string> = new Set([...users, ...recent]);
  return {
    workers,
    users: users.size,
    /** Hashes of the users, and of those who were here a moment ago. */
    people,
    sessions,
    connections,
    /** Mean over the workers. */
    lagMs: mean,
    worstLagMs,
  };
}
