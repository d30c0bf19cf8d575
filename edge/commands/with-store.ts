/**
 * One visit to the store of a running edge: the Redis that is named, or else the embedded store of the data directory. It
 * never waits long for a store that is away, and leaves nothing open.
 */
import { resolve } from "node:path";
import { systemClock } from "../../shared/base/clock.ts";
import { EdgeError } from "../../shared/base/errors.ts";
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
  /** Records that were read so far and left out, because they cannot be parsed. */
  readonly ignored: (kind: "session" | "event") => number;
}

export type StoreLocation = Pick<Settings, "redisUrl" | "redisCa" | "redisPrefix" | "dataDir">;

/** There is no store to ask. The message says where it was looked for and what to do. */
export class StoreUnreachableError extends EdgeError {
  readonly code = "EDGE_STORE_UNREACHABLE";
  readonly source = "store";
  readonly retryable = true;
}

/** A command waits for a store that is away for less than 3 s, its leave-taking and a busy machine included. */
const FIRST_ANSWER_MS = 2000;
const MAX_REASON_CHARS = 500;

/**
 * Asks the store and takes leave of it. Rejects with `StoreUnreachableError` when it does not answer, within about 2 s at
 * the beginning.
 */
export async function withStore<T>(
  storeLocation: StoreLocation,
  ask: (withStore: StoreQuery) => Promise<T>,
): Promise<T> {
  const place = findPlace(storeLocation);
  const counters = createCounters();
  const store = connectStore({
    settings: { ...storeLocation, storeSocket: place.socket },
    name: "command",
    clock: systemClock,
    // Nobody reads a log here: what went wrong becomes the one line at the end.
    log: createLog({ name: "command", level: "error", format: "text", sink: { write() {} } }),
    counters,
  });
  // Timers of the clock keep no process alive; without this one it would end while it waits for an answer.
  const alive = setInterval(() => {}, 1000);
  try {
    await firstAnswer(store);
    return await ask({ store, ignored: (kind) => counters.value("store.ignored", kind) });
  } catch (error) {
    if (!(error instanceof StoreAwayError)) throw error;
    const reason = error.cause instanceof Error ? error.cause.message : error.message;
    throw new StoreUnreachableError(place.explain(escapeForTerminal(reason, MAX_REASON_CHARS)));
  } finally {
    clearInterval(alive);
    await store.close();
  }
}

async function firstAnswer(store: Store): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new StoreAwayError("timeMs", new Error(`no answer within ${FIRST_ANSWER_MS} ms`)));
    }, FIRST_ANSWER_MS);
  });
  try {
    await Promise.race([store.timeMs(), late]);
  } finally {
    clearTimeout(timer);
  }
}

// --- where it is ---

interface Place {
  /** Of the embedded store; undefined when Redis is named. */
  readonly socket: string | undefined;
  /** One line for the operator: what was tried, what came of it, what to do. */
  explain(reason: string): string;
}

function findPlace({ redisUrl, dataDir }: StoreLocation): Place {
  return redisUrl === undefined ? findEmbedded(resolve(dataDir)) : nameRedis(redisUrl);
}

function nameRedis(redisUrl: string): Place {
  // Never the URL itself: it may hold a password.
  const where = `Redis at ${parseRedisUrl(redisUrl).label}`;
  return {
    socket: undefined,
    explain(reason) {
      const what = reason.startsWith(where) ? reason : `${where}: ${reason}`;
      return `the store cannot be reached: ${what}; check that it runs, and CT_REDIS_URL (or --redis)`;
    },
  };
}

function findEmbedded(dataDir: string): Place {
  const socket = findStoreSocket(dataDir);
  if (socket === undefined) {
    throw new StoreUnreachableError(
      `CT_DATA_DIR=${dataDir}: no edge of this user is found there; name the data directory of one that runs, or set CT_REDIS_URL (or --redis) for an edge of many machines`,
    );
  }
  return {
    socket,
    explain: (reason) =>
      `CT_DATA_DIR=${dataDir}: the store of its edge cannot be reached (${reason}); start the edge, or set CT_REDIS_URL (or --redis) for an edge of many machines`,
  };
}
