/**
 * One connection to Redis that is kept up for as long as the process lives: ioredis with everything it would do on its own
 * account turned off (queues, retries of commands, console output), and tried again when ioredis gives up.
 */
import { Redis, type RedisOptions } from "ioredis";
import { type Clock, sleep } from "../../../base/clock.ts";
import { plainAddress } from "../../../net/networks.ts";
import { connectorTo, DISCONNECT_TIMEOUT_MS } from "./connector.ts";
import {
  aclRule,
  describeFault,
  type Fault,
  type FaultContext,
  unansweredFault,
} from "./faults.ts";
import type { RedisTarget } from "./target.ts";

/** An answer takes a fraction of a millisecond; this long means that Redis hangs, or the way to it does. */
export const COMMAND_TIMEOUT_MS = 2000;
const CONNECT_TIMEOUT_MS = 2000;
const FIRST_RETRY_MS = 50;
/** With connecting and greeting, Redis is used again well within a second of its return. */
const MAX_RETRY_MS = 500;
/** Between two tries that only an operator can help: a wrong password fills the log of Redis. */
const SLOW_RETRY_MS = 5000;

export interface Link {
  readonly redis: Redis;
  /** This end's address of the last connection; undefined before the first and on a Unix socket. */
  readonly localAddress: string | undefined;
  /** What an error of `redis` means. */
  explain(error: unknown): Fault;
  /** How long to wait before the next try. Grows with each call until `succeeded`. */
  nextDelayMs(fault: Fault | undefined): number;
  /** The connection is of use: the next loss is followed by a quick try. */
  succeeded(): void;
  /** Gives this connection up for another one. */
  reconnect(): void;
  /** Ends it for good. */
  close(): Promise<void>;
}

export function createLink(needs: {
  readonly target: RedisTarget;
  /** PEM; without it the system's authorities are believed. */
  readonly ca: string | undefined;
  /** What all keys and channels begin with. */
  readonly prefix: string;
  /** What operators see in `CLIENT LIST`. */
  readonly name: string;
  readonly clock: Clock;
  /** Redis takes commands on a new connection. */
  readonly onConnected: () => void;
  /** The connection failed or was lost. */
  readonly onFault: (fault: Fault) => void;
}): Link {
  const { clock, target } = needs;
  const context: FaultContext = {
    secrets: secretsOf(target),
    tls: target.tls,
    aclRule: aclRule(target.login.user, needs.prefix),
  };
  let failures = 0;
  let isClosed = false;
  let isOfUse = false;
  let isGivenUp = false;
  let lastFault: Fault | undefined;
  let localAddress: string | undefined;

  const options = optionsOf(needs);
  options.retryStrategy = () => nextDelayMs(lastFault);
  const redis = new Redis(options);
  redis.on("error", fail);
  redis.on("close", () => {
    // The end of a connection follows every other failure of it, and our own giving up.
    if (lastFault === undefined && !isGivenUp) fail(new Error("connection closed"));
  });
  redis.on("connect", () => {
    isOfUse = false;
    isGivenUp = false;
  });
  redis.on("ready", () => {
    lastFault = undefined;
    localAddress = addressOf(redis);
    if (!isClosed) needs.onConnected();
  });
  // ioredis ends for good when no address was found to connect to.
  redis.on("end", () => {
    if (!isClosed) clock.after(nextDelayMs(lastFault), connect);
  });

  function connect(): void {
    if (isClosed || redis.status === "connecting" || redis.status === "ready") return;
    // What fails is told by the events above.
    redis.connect().catch(() => {});
  }

  function fail(error: unknown): void {
    if (isClosed) return;
    const explained = explain(error);
    const isEarly = explained.kind === "lost" && !isOfUse;
    const fault = isEarly ? unansweredFault(explained, context) : explained;
    lastFault = fault;
    needs.onFault(fault);
  }

  function explain(error: unknown): Fault {
    return describeFault(error, context);
  }

  function nextDelayMs(fault: Fault | undefined): number {
    const delayMs =
      fault?.slow === true
        ? SLOW_RETRY_MS
        : Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(failures, 10));
    failures++;
    // Jitter, because all processes lose Redis at the same moment.
    return delayMs * (0.5 + Math.random() / 2);
  }

  connect();

  return {
    redis,
    get localAddress() {
      return localAddress;
    },
    explain,
    nextDelayMs,
    succeeded() {
      failures = 0;
      isOfUse = true;
    },
    reconnect() {
      if (redis.status !== "ready" && redis.status !== "connect") return;
      isGivenUp = true;
      redis.disconnect(true);
    },
    async close() {
      if (isClosed) return;
      isClosed = true;
      const isOpen = ["connecting", "connect", "ready"].includes(redis.status);
      const ended = new Promise<void>((resolve) => redis.once("end", () => resolve()));
      redis.disconnect();
      if (isOpen) await Promise.race([ended, sleep(clock, 2 * DISCONNECT_TIMEOUT_MS)]);
    },
  };
}

function optionsOf(needs: {
  readonly target: RedisTarget;
  readonly ca: string | undefined;
  readonly name: string;
}): RedisOptions & { replyMapping: "legacy" } {
  const { login, db, tls } = needs.target;
  return {
    Connector: connectorTo(needs.target, needs.ca),
    username: login.user,
    password: login.password,
    db,
    // Only says which event of the socket to wait for; the connector does the rest.
    tls: tls ? {} : undefined,
    connectionName: needs.name,
    lazyConnect: true,
    connectTimeout: CONNECT_TIMEOUT_MS,
    commandTimeout: COMMAND_TIMEOUT_MS,
    // Nothing waits for a Redis that is away, and nothing is sent twice: a script may have run before its answer was lost.
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    autoResubscribe: false,
    // We greet every new connection ourselves; ioredis would sleep for as long as Redis thinks that loading takes.
    enableReadyCheck: false,
    disableClientInfo: true,
    // Answers have the shape of RESP2, whichever protocol was agreed on.
    replyMapping: "legacy",
  };
}

/** IPv4 addresses in their own form, also on a socket that speaks IPv6 as well. */
function addressOf({ stream }: Redis): string | undefined {
  const address = "localAddress" in stream ? stream.localAddress : undefined;
  return address === undefined ? undefined : plainAddress(address);
}

function secretsOf({ at, login }: RedisTarget): string[] {
  const logins = at.kind === "sentinels" ? [login, at.login] : [login];
  return logins.flatMap(({ password }) => (password === undefined ? [] : [password]));
}
