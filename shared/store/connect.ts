/**
 * Picks the store that the settings name, and connects to it.
 */
import { readFileSync } from "node:fs";
import type { Clock } from "../clock.ts";
import { SettingError, type Settings } from "../config.ts";
import { describeError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { Counters } from "../metrics.ts";
import { connectEmbeddedStore } from "./embedded/client.ts";
import { connectRedisStore } from "./redis/store.ts";
import { parseRedisUrl } from "./redis/target.ts";
import type { Store } from "./store.ts";

/**
 * Connects to the embedded store when `storeSocket` is set, because whoever set it started this process for it; else to
 * Redis. Returns at once, connected or not. Throws `SettingError` when neither is set, or what is set is wrong.
 */
export function connectStore(needs: {
  readonly settings: Pick<Settings, "storeSocket" | "redisUrl" | "redisCa" | "redisPrefix">;
  /** This process, as operators see it in Redis's list of clients: `worker-3`. */
  readonly name: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
}): Store {
  const { settings, name, clock, log, counters } = needs;
  if (settings.storeSocket !== undefined) {
    return connectEmbeddedStore({ socketPath: settings.storeSocket, clock, log });
  }
  if (settings.redisUrl === undefined) {
    throw new SettingError(
      "no store is named: set CT_REDIS_URL, or start everything on one machine with `ct-edge`",
    );
  }
  return connectRedisStore({
    target: parseRedisUrl(settings.redisUrl),
    ca: settings.redisCa === undefined ? undefined : readCa(settings.redisCa),
    prefix: settings.redisPrefix,
    name: `ct-${name}`,
    clock,
    log,
    counters,
  });
}

function readCa(path: string): string {
  let pem: string;
  try {
    pem = readFileSync(path, "utf8");
  } catch (error) {
    throw new SettingError(
      `CT_REDIS_CA=${path}: cannot be read (${describeError(error)}); name a PEM file`,
    );
  }
  // Node takes anything for an authority and then trusts nobody, with an error that does not lead here.
  if (!pem.includes("-----BEGIN CERTIFICATE-----")) {
    throw new SettingError(`CT_REDIS_CA=${path}: holds no certificate; name a PEM file`);
  }
  return pem;
}
