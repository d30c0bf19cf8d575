/**
 * The numbers of the whole cluster, from what each worker reports of itself. Pure. People are added up as sets of hashes,
 * not as numbers, so that somebody at two workers counts once.
 */
import { z } from "zod";
import type { Incarnation, WorkerId } from "../base/ids.ts";

/** What one worker tells the others, in the store's reports of the kind `usage`. */
export interface WorkerReport {
  readonly incarnation: Incarnation;
  /** Hashes of those who have an open connection. */
  readonly users: ReadonlySet<string>;
  readonly sessions: number;
  readonly connections: number;
  readonly lagMs: number;
}

export interface ClusterSums {
  readonly workers: number;
  readonly users: number;
  readonly sessions: number;
  readonly connections: number;
  /** Mean over the workers. */
  readonly lagMs: number;
  readonly worstLagMs: number;
}

/** Characters of a person's hash: 66 bits, so that of a million people two are taken for one once in 10^8 times. */
export const HASH_CHARS = 11;
/** As many as a worker takes connections; a report of more stays within what the store takes. */
const MAX_USERS = 20_000;

const reportSchema = z.object({
  incarnation: z.custom<Incarnation>(
    (value) => typeof value === "string" && /^[A-Za-z0-9]{16}$/.test(value),
  ),
  /** All hashes in one text: as an array it would be a quarter longer. */
  users: z
    .string()
    .max(MAX_USERS * HASH_CHARS)
    .regex(/^([A-Za-z0-9_-]{11})*$/),
  sessions: z.number().int().nonnegative(),
  connections: z.number().int().nonnegative(),
  lagMs: z.number().nonnegative(),
});

export function writeReport(report: WorkerReport): string {
  const users = [...report.users].slice(0, MAX_USERS).join("");
  return JSON.stringify({ ...report, users });
}

/** Undefined when it is none: whoever can write the store may be hostile. */
export function parseReport(text: string): WorkerReport | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const parsed = reportSchema.safeParse(value);
  if (!parsed.success) return undefined;
  const { users, ...numbers } = parsed.data;
  return { ...numbers, users: new Set(users.match(/.{11}/g)) };
}

/**
 * The sums over the reports of workers that live, each in the incarnation that reported: what a worker said that has died
 * or started again since counts no more.
 */
export function sumReports(
  reports: Readonly<Record<string, WorkerReport>>,
  isLive: (worker: WorkerId, incarnation: Incarnation) => boolean,
): ClusterSums {
  const users = new Set<string>();
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
  }
  const mean = workers === 0 ? 0 : Math.round((lagMs / workers) * 1000) / 1000;
  return { workers, users: users.size, sessions, connections, lagMs: mean, worstLagMs };
}
