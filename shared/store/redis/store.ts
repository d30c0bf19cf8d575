/**
 * The Redis store: the contract for many machines. Every operation is one script (scripts/*.lua), so it is atomic and one
 * round trip; times are Redis's own. What is read is checked (replies.ts); how a connection is kept and what its failures
 * mean: connection.ts, link.ts, faults.ts.
 *
 * The rights that the user in Redis needs, and which settings of Redis matter: docs/operators/redis.md. `ZADD … GT` and
 * rights on channels are what a Redis before 6.2 lacks.
 *
 * `maxmemory-policy` must be `noeviction`: records that Redis throws away are sessions that cannot go on. With replicas,
 * `min-replicas-to-write 1` keeps a primary that was cut off from taking writes that a fail-over would lose.
 */
import type { Clock } from "../../base/clock.ts";
import type { Log } from "../../logs/log.ts";
import type { Counters } from "../../metrics/metrics.ts";
import type { Store } from "../store.ts";
import { openConnection } from "./connection/connection.ts";
import { openFeed } from "./connection/feed.ts";
import type { RedisTarget } from "./connection/target.ts";
import { createHistory } from "./operations/history.ts";
import { createMembers } from "./operations/members.ts";
import { createPutIfAbsent } from "./operations/put-if-absent.ts";
import { createReports } from "./operations/reports.ts";
import { createSessions } from "./operations/sessions.ts";
import { createStreams } from "./operations/streams.ts";
import { createTickets } from "./operations/tickets.ts";
import { createTokens } from "./operations/tokens.ts";
import { createIgnored } from "./values/ignored.ts";

/**
 * Connects to Redis, and stays at it. What is asked at once waits for the first connection, for as long as an answer may
 * take; `health` is away until then.
 */
export function connectRedisStore(needs: {
  readonly target: RedisTarget;
  /** PEM of the authority of Redis's certificate; without it the system's are believed. */
  readonly ca?: string | undefined;
  /** Begins every key and channel, and holds the hash tag that keeps them on one node of a cluster. */
  readonly prefix: string;
  /** What operators see in `CLIENT LIST`. */
  readonly name: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
}): Store {
  const to = { ...needs, ca: needs.ca };
  const connection = openConnection(to);
  const feed = openFeed(to);
  const ignored = createIgnored(needs);

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
    async close() {
      await Promise.all([feed.close(), connection.close()]);
    },
    ...createMembers(connection, ignored),
    ...createSessions(connection, ignored),
    ...createTickets(connection, ignored),
    ...createTokens(connection, needs.clock),
    ...createPutIfAbsent(connection),
    ...createHistory(connection, ignored),
    ...createStreams(connection, ignored),
    ...createReports(connection, ignored),
  };
}
