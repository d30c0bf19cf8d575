/**
 * The Redis store, for many machines. Every operation is one script (scripts/*.lua), so it is atomic and takes one round
 * trip, or none of its own when it is deferred (connection/heartbeats.ts); times are Redis's own. Replies are validated (values/replies.ts). Connections and their failures: connection/.
 *
 * Permissions and settings that Redis needs: docs/operators/redis.md. Redis before 6.2 lacks `ZADD … GT` and channel
 * permissions. `maxmemory-policy` must be `noeviction`: an evicted record is a session that cannot continue. With replicas,
 * `min-replicas-to-write 1` keeps an isolated primary from accepting writes that a fail-over would lose.
 */
import type { Clock } from "../../base/clock.ts";
import type { Log } from "../../logs/log.ts";
import type { Counters } from "../../metrics/metrics.ts";
import type { Store } from "../store.ts";
import { openConnection, type Runner } from "./connection/connection.ts";
import { openFeed } from "./connection/feed.ts";
import { createHeartbeats } from "./connection/heartbeats.ts";
import type { RedisTarget } from "./connection/target.ts";
import { createStoredCounters } from "./operations/counters.ts";
import { createMembers } from "./operations/members.ts";
import { createSessions } from "./operations/sessions.ts";
import { createSignIns } from "./operations/sign-ins.ts";
import { createStreams } from "./operations/streams.ts";
import { createTickets } from "./operations/tickets.ts";
import { createValues } from "./operations/values.ts";
import { createIgnored } from "./values/ignored.ts";

/**
 * Connects to Redis, and reconnects until closed. Operations before the first connection wait for it, up to the command
 * timeout; `health` is `away` until then.
 */
export function connectRedisStore(deps: {
  readonly target: RedisTarget;
  /** PEM of the CA of Redis's certificate; by default the system's CAs. */
  readonly ca?: string | undefined;
  /** Prefix of all keys and channels, with the hash tag that keeps them on one node of a cluster. */
  readonly prefix: string;
  /** Name in `CLIENT LIST`. */
  readonly name: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
}): Store {
  const target = { ...deps, ca: deps.ca };
  const connection = openConnection(target);
  const feed = openFeed(target);
  const ignored = createIgnored(deps);
  const heartbeats = createHeartbeats({
    connection,
    clock: deps.clock,
    onVersion: (version) => feed.expect(version),
  });

  const operations = (redis: Runner) => ({
    ...createMembers(redis, ignored),
    ...createSessions(redis, ignored),
    ...createTickets(redis, ignored),
    ...createValues(redis, ignored, deps.clock),
    ...createSignIns(redis, ignored, deps.clock),
    ...createStoredCounters(redis, ignored),
    ...createStreams(redis, ignored),
  });

  return {
    get health() {
      return connection.health;
    },
    get localAddress() {
      return connection.localAddress;
    },
    onHealth: (listener) => connection.onHealth(listener),
    onChange: (listener) => feed.onChange(listener),
    timeMs: () => connection.timeMs(),
    deferred: {
      ...operations(heartbeats.deferred),
      timeMs: async () => Number(await heartbeats.deferred.run("timeMs")),
    },
    stopDeferring: () => heartbeats.stopDeferring(),
    async close() {
      heartbeats.close();
      await Promise.all([feed.close(), connection.close()]);
    },
    ...operations(heartbeats.atOnce),
  };
}
