/** The dashboard's usage: as JSON, and as a file for spreadsheets. */
import type { FastifyInstance, FastifyRequest } from "fastify";
import { type Refuse, sendCsv, textResponse } from "../http/responses.ts";
import { MAX_USAGE_DAYS } from "../usage/daily-usage.ts";
import { usageCsv } from "../usage/usage-csv.ts";
import type { Dashboard } from "./dashboard.ts";
import { describeTiles } from "./describe.ts";
import type { UsageResponse } from "./responses.ts";

const DEFAULT_DAYS = 30;
/** Of the file: a spreadsheet has room. */
const DEFAULT_CSV_DAYS = 90;

export function addUsageRoutes({
  app,
  dashboard,
  refuse,
}: {
  readonly app: FastifyInstance;
  readonly dashboard: Pick<Dashboard, "usage" | "snapshots">;
  readonly refuse: Refuse;
}): void {
  app.get("/dashboard/api/usage", async (request, reply) => {
    const days = daysOf(request, DEFAULT_DAYS);
    if (days === undefined) return refuse(reply, "query", BAD_DAYS);
    const [usage, { cluster }] = await Promise.all([
      dashboard.usage(days),
      dashboard.snapshots.read(),
    ]);
    const { usersOnline, sessionsActive } = describeTiles(cluster);
    const now = { users: usersOnline, sessions: sessionsActive };
    return { now, days, users: usage.users, rows: usage.days } satisfies UsageResponse;
  });
  app.get("/dashboard/usage.csv", async (request, reply) => {
    const days = daysOf(request, DEFAULT_CSV_DAYS);
    if (days === undefined) return refuse(reply, "query", BAD_DAYS);
    const usage = await dashboard.usage(days);
    return sendCsv(reply, "usage.csv", usageCsv(usage.days));
  });
}

const BAD_DAYS = textResponse(400, `days must be a number from 1 to ${MAX_USAGE_DAYS}`);

/** Undefined: it is none. */
function daysOf(request: FastifyRequest, otherwise: number): number | undefined {
  const { days } = request.query as Record<string, unknown>;
  if (days === undefined) return otherwise;
  const number = typeof days === "string" && /^\d{1,3}$/.test(days) ? Number(days) : 0;
  return number >= 1 && number <= MAX_USAGE_DAYS ? number : undefined;
}
