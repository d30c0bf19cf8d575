/**
 * Connects to the store of a running edge for one command: to the configured Redis, or to the embedded store of the data
 * directory. It does not wait long for a store that is away, and closes its connection.
 */
import { resolve } from "node:path";
import { systemClock } from "../../shared/base/clock.ts";
import { EdgeError } from "../../shared/base/errors.ts";
import { keepingAlive } from "../../shared/base/keep-alive.ts";
import { escapeForTerminal } from "../../shared/logs/escape.ts";
import { createLog } from "../../shared/logs/log.ts";
import { createCounters } from "../../shared/metrics/metrics.ts";
import { connectStore } from "../../shared/process/connect-store.ts";
import type { Settings } from "../../shared/settings/read-settings.ts";
import { findStoreSocket } from "../../shared/store/embedded/data-dir.ts";
import { parseRedisUrl } from "../../shared/store/redis/connection/target.ts";
import { type Store, StoreAwayError } from "../../shared/store/store.ts";

export interface StoreQuery {
  readonly store: Store;
  /** Records read so far that cannot be parsed and were skipped. */
  readonly ignored: (kind: "session" | "event") => number;
}

export type StoreLocation = Pick<Settings, "redisUrl" | "redisCa" | "redisPrefix" | "dataDir">;

/** The store cannot be reached. The message says where it was expected and what to do. */
class StoreUnreachableError extends EdgeError {
  readonly code = "EDGE_STORE_UNREACHABLE";
}

/** Keeps a command below 3 s when the store is away, closing the connection and a busy machine included. */
const FIRST_RESPONSE_MS = 2000;
const MAX_REASON_CHARS = 500;

/**
 * Runs `use` with a connection to the store. Rejects with `StoreUnreachableError` when the store is away; when it does not
 * answer the first request, after about 2 s.
 */
export async function withStore<T>(
  storeLocation: StoreLocation,
  use: (query: StoreQuery) => Promise<T>,
): Promise<T> {
  const place = findPlace(storeLocation);
  const counters = createCounters();
  const store = connectStore({
    settings: { ...storeLocation, storeSocket: place.socket },
    name: "command",
    clock: systemClock,
    // A command has no log: a failure becomes its one line on standard error.
    log: createLog({ name: "command", level: "error", format: "text", sink: { write() {} } }),
    counters,
  });
  try {
    return await keepingAlive(async () => {
      await firstResponse(store);
      return use({ store, ignored: (kind) => counters.value("store.ignored", kind) });
    });
  } catch (error) {
    if (!(error instanceof StoreAwayError)) throw error;
    const reason = error.cause instanceof Error ? error.cause.message : error.message;
    throw new StoreUnreachableError(place.explain(escapeForTerminal(reason, MAX_REASON_CHARS)));
  } finally {
    await store.close();
  }
}

async function firstResponse(store: Store): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new StoreAwayError("timeMs", new Error(`no answer within ${FIRST_RESPONSE_MS} ms`)));
    }, FIRST_RESPONSE_MS);
  });
  try {
    await Promise.race([store.timeMs(), timeout]);
  } finally {
    clearTimeout(timer);
  }
}

// --- location ---

interface Place {
  /** Of the embedded store; undefined with Redis. */
  readonly socket: string | undefined;
  /** One line for the operator: what was tried, why it failed, what to do. */
  explain(reason: string): string;
}

function findPlace({ redisUrl, dataDir }: StoreLocation): Place {
  return redisUrl === undefined ? embeddedPlace(resolve(dataDir)) : redisPlace(redisUrl);
}

function redisPlace(redisUrl: string): Place {
  // Never the URL itself: it may contain a password.
  const where = `Redis at ${parseRedisUrl(redisUrl).label}`;
  return {
    socket: undefined,
    explain(reason) {
      const what = reason.startsWith(where) ? reason : `${where}: ${reason}`;
      return `the store cannot be reached: ${what}; check that it runs, and check CT_REDIS_URL (or --redis)`;
    },
  };
}

function embeddedPlace(dataDir: string): Place {
  const socket = findStoreSocket(dataDir);
  if (socket === undefined) {
    throw new StoreUnreachableError(
      `CT_DATA_DIR=${dataDir}: no running edge of this user; set it to the data directory of a running edge, or set CT_REDIS_URL (or --redis) for an edge of many machines`,
    );
  }
  return {
    socket,
    explain: (reason) =>
      `CT_DATA_DIR=${dataDir}: the embedded store cannot be reached (${reason}); start the edge, or set CT_REDIS_URL (or --redis) for an edge of many machines`,
  };
}
