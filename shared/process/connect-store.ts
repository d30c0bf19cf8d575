/**
 * Connects to the store that the settings select.
 */
import type { Clock } from "../base/clock.ts";
import type { Log } from "../logs/log.ts";
import type { Counters } from "../metrics/metrics.ts";
import { isLoopback } from "../net/networks.ts";
import {
  readNamedFile,
  SettingError,
  type Settings,
  type Slice,
} from "../settings/read-settings.ts";
import { connectEmbeddedStore } from "../store/embedded/client.ts";
import { parseRedisUrl } from "../store/redis/connection/target.ts";
import { connectRedisStore } from "../store/redis/store.ts";
import type { Store } from "../store/store.ts";

export const STORE_SETTINGS = ["storeSocket", "redisUrl", "redisCa", "redisPrefix"] as const;

/**
 * Connects to the embedded store if `storeSocket` is set, because only `ct-edge` sets it, else to Redis. Returns
 * immediately, before it is connected. Throws `SettingError` if neither is set or a value is invalid.
 */
export function connectStore(deps: {
  readonly settings: Slice<typeof STORE_SETTINGS>;
  /** Name of this process in Redis's CLIENT LIST, such as `worker-3`. */
  readonly name: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
}): Store {
  const { settings, name, clock, log, counters } = deps;
  if (settings.storeSocket !== undefined) {
    return connectEmbeddedStore({ socketPath: settings.storeSocket, clock, log, counters });
  }
  if (settings.redisUrl === undefined) {
    throw new SettingError(
      "no store is configured: set CT_REDIS_URL, or start everything on one machine with `ct-edge`",
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

/** Whether the store is certainly on this machine. A Redis given by host name counts as remote. */
export function isStoreLocal(settings: Pick<Settings, "storeSocket" | "redisUrl">): boolean {
  if (settings.storeSocket !== undefined || settings.redisUrl === undefined) return true;
  const { at } = parseRedisUrl(settings.redisUrl);
  return at.kind === "socket" || (at.kind === "server" && isLoopback(at.host));
}

/** Resolves when the store is reached for the first time. */
export function storeReached(store: Pick<Store, "health" | "onHealth">): Promise<void> {
  if (store.health.state === "up") return Promise.resolve();
  return new Promise((resolve) => {
    const stop = store.onHealth((health) => {
      if (health.state !== "up") return;
      stop();
      resolve();
    });
  });
}

function readCa(path: string): string {
  const pem = readNamedFile("CT_REDIS_CA", path, "PEM file");
  // Node accepts any text as an authority and then rejects every certificate, with an error that does not name the cause.
  if (!pem.includes("-----BEGIN CERTIFICATE-----")) {
    throw new SettingError(
      `CT_REDIS_CA=${path}: contains no certificate; name a PEM file with the certificate of the authority`,
    );
  }
  return pem;
}
