/** Asks the deployment itself, with the means that the operator has given. */
import { type Clock, sleep, systemClock } from "../../shared/base/clock.ts";
import { EdgeError } from "../../shared/base/errors.ts";
import { STATUS_PERIOD_MS } from "../../shared/cluster/status-reports.ts";
import { HEARTBEAT_MS } from "../../shared/store/store.ts";
import { DashboardError, openDashboard } from "./inside/from-dashboard.ts";
import { readFromStore } from "./inside/from-redis.ts";
import type { Inside } from "./inside/inside.ts";
import { type RedisInfo, readRedisInfo } from "./inside/redis-info.ts";
import type { InsideAnswer } from "./judge/inside.ts";
import type { HttpProbe } from "./probes/http.ts";
import type { VerifyOptions } from "./run-options.ts";

type Means = Pick<VerifyOptions, "store" | "token">;

/** From the store, which knows more, or else from the dashboard. */
export async function lookInside(
  { store, token }: Means,
  http: HttpProbe,
  signal: AbortSignal,
): Promise<InsideAnswer> {
  const settled = (read: () => Promise<Inside>) => readSettled(read, systemClock, signal);
  try {
    if (store !== undefined) {
      return await store.withStore((opened) => settled(() => readFromStore(opened)));
    }
    return token === undefined
      ? { outcome: "not asked" }
      : await settled(() => openDashboard(http, token).read());
  } catch (error) {
    if (error instanceof DashboardError || error instanceof EdgeError) {
      return { outcome: "failed", detail: error.message };
    }
    throw error;
  }
}

/**
 * What processes say of each other is as old as their last report. Just after a worker was replaced, the reports of balancers
 * are about the one before, and rings differ. A fault that remains is still there after their next reports.
 */
const PATIENCE_MS = STATUS_PERIOD_MS + 2 * HEARTBEAT_MS;
const POLL_MS = 300;

export async function readSettled(
  read: () => Promise<Inside>,
  clock: Clock,
  signal: AbortSignal,
): Promise<InsideAnswer> {
  const untilMs = clock.nowMs() + PATIENCE_MS;
  for (;;) {
    const inside = await read();
    if (isSettled(inside) || clock.nowMs() >= untilMs) return { outcome: "read", inside };
    if (signal.aborted) return { outcome: "interrupted" };
    await sleep(clock, POLL_MS);
  }
}

function isSettled({ isComplete, ringProblem, unreachable, secret }: Inside): boolean {
  // Between processes with several secrets the rest does not settle.
  const isSplit = secret?.state === "several";
  return isComplete && (isSplit || (ringProblem === undefined && unreachable.length === 0));
}

export async function redisInfoOf({ store }: Means): Promise<RedisInfo | "embedded" | "not asked"> {
  if (store === undefined) return "not asked";
  return store.redis === undefined ? "embedded" : readRedisInfo(store.redis);
}
