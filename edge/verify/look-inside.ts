/** Asks the deployment itself, with the means that the operator has given. */
import { EdgeError } from "../../shared/base/errors.ts";
import { DashboardError, openDashboard } from "./inside/from-dashboard.ts";
import { readFromStore } from "./inside/from-redis.ts";
import { type RedisInfo, readRedisInfo } from "./inside/redis-info.ts";
import type { InsideAnswer } from "./judge/inside.ts";
import type { HttpProbe } from "./probes/http.ts";
import type { VerifyOptions } from "./run-options.ts";

type Means = Pick<VerifyOptions, "store" | "token">;

/** From the store, which knows more, or else from the dashboard. */
export async function lookInside({ store, token }: Means, http: HttpProbe): Promise<InsideAnswer> {
  try {
    if (store !== undefined) {
      return { outcome: "read", inside: await store.withStore(readFromStore) };
    }
    if (token !== undefined) {
      return { outcome: "read", inside: await openDashboard(http, token).read() };
    }
    return { outcome: "not asked" };
  } catch (error) {
    if (error instanceof DashboardError || error instanceof EdgeError) {
      return { outcome: "failed", detail: error.message };
    }
    throw error;
  }
}

export async function redisInfoOf({ store }: Means): Promise<RedisInfo | "embedded" | "not asked"> {
  if (store === undefined) return "not asked";
  return store.redis === undefined ? "embedded" : readRedisInfo(store.redis);
}
