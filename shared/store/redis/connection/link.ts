/**
 * A persistent connection to Redis: ioredis without its own queues, command retries and console output, reconnected also
 * when ioredis gives up.
 */
import { Redis, type RedisOptions } from "ioredis";
import { type Backoff, backoffMs, HALF_RANDOM } from "../../../base/backoff.ts";
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

/** A reply takes a fraction of a millisecond; after this long Redis or the network hangs. */
export const COMMAND_TIMEOUT_MS = 2000;
const CONNECT_TIMEOUT_MS = 2000;
/** Firewalls and NATs forget connections that are silent for minutes, as the one for changes may be. */
const KEEP_ALIVE_MS = 15_000;
/**
 * With connecting and `greet`, Redis is in use again well within a second of its return. With jitter, because all processes lose it at
 * once.
 */
const RETRY: Backoff = { firstMs: 50, maxMs: 500, jitter: HALF_RANDOM };
/** When only an operator can help: frequent retries with a wrong password fill the log of Redis. */
const SLOW_RETRY: Backoff = { firstMs: 5000, maxMs: 5000, jitter: HALF_RANDOM };

export type Link = ReturnType<typeof createLink>;

export function createLink(deps: {
  readonly target: RedisTarget;
  /** PEM; by default the system's CAs. */
  readonly ca: string | undefined;
  /** Prefix of all keys and channels. */
  readonly prefix: string;
  /** Name in `CLIENT LIST`. */
  readonly name: string;
  readonly clock: Clock;
  /** A new connection accepts commands. */
  readonly onConnected: () => void;
  /** The connection failed or was lost. */
  readonly onFault: (fault: Fault) => void;
}) {
  const { clock, target } = deps;
  const context: FaultContext = {
    secrets: secretsOf(target),
    tls: target.tls,
    aclRule: aclRule(target.login.user, deps.prefix),
  };
  let failures = 0;
  let isClosed = false;
  let hasSucceeded = false;
  let isDropped = false;
  let lastFault: Fault | undefined;
  let localAddress: string | undefined;

  const options = optionsOf(deps);
  options.retryStrategy = () => nextDelayMs(lastFault);
  const redis = new Redis(options);
  redis.on("error", fail);
  redis.on("close", () => {
    // `close` follows every other failure of a connection, and our own reconnect.
    if (lastFault === undefined && !isDropped) fail(new Error("connection closed"));
  });
  redis.on("connect", () => {
    hasSucceeded = false;
    isDropped = false;
  });
  redis.on("ready", () => {
    lastFault = undefined;
    localAddress = addressOf(redis);
    if (!isClosed) deps.onConnected();
  });
  // ioredis stops retrying when it found no address to connect to.
  redis.on("end", () => {
    if (!isClosed) clock.after(nextDelayMs(lastFault), connect);
  });

  function connect(): void {
    if (isClosed || redis.status === "connecting" || redis.status === "ready") return;
    // The events above report failures.
    redis.connect().catch(() => {});
  }

  function fail(error: unknown): void {
    if (isClosed) return;
    const explained = explain(error);
    const isEarly = explained.kind === "lost" && !hasSucceeded;
    const fault = isEarly ? unansweredFault(explained, context) : explained;
    lastFault = fault;
    deps.onFault(fault);
  }

  function explain(error: unknown): Fault {
    return describeFault(error, context);
  }

  /** Delay before the next attempt. Grows with each call until `succeeded`. */
  function nextDelayMs(fault: Fault | undefined): number {
    return backoffMs(fault?.slow === true ? SLOW_RETRY : RETRY, failures++);
  }

  connect();

  return {
    redis,
    /** Local address of the last connection; undefined before the first and on a Unix socket. */
    get localAddress(): string | undefined {
      return localAddress;
    },
    explain,
    nextDelayMs,
    /** The connection works: resets the delay. */
    succeeded(): void {
      failures = 0;
      hasSucceeded = true;
    },
    /** Drops this connection and opens another. */
    reconnect(): void {
      if (redis.status !== "ready" && redis.status !== "connect") return;
      isDropped = true;
      redis.disconnect(true);
    },
    async close(): Promise<void> {
      if (isClosed) return;
      isClosed = true;
      const isOpen = ["connecting", "connect", "ready"].includes(redis.status);
      const ended = new Promise<void>((resolve) => redis.once("end", () => resolve()));
      redis.disconnect();
      if (isOpen) await Promise.race([ended, sleep(clock, 2 * DISCONNECT_TIMEOUT_MS)]);
    },
  };
}

function optionsOf(deps: {
  readonly target: RedisTarget;
  readonly ca: string | undefined;
  readonly name: string;
}): RedisOptions & { replyMapping: "legacy" } {
  const { login, db, tls } = deps.target;
  return {
    Connector: connectorTo(deps.target, deps.ca),
    username: login.user,
    password: login.password,
    db,
    // Only selects the socket event to wait for; the connector opens TLS.
    tls: tls ? {} : undefined,
    connectionName: deps.name,
    lazyConnect: true,
    connectTimeout: CONNECT_TIMEOUT_MS,
    keepAlive: KEEP_ALIVE_MS,
    commandTimeout: COMMAND_TIMEOUT_MS,
    // Nothing is queued while Redis is away, and nothing is sent twice: a script may have run before its reply was lost.
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    autoResubscribe: false,
    // We check new connections with `greet`; ioredis would sleep for the loading time that Redis estimates.
    enableReadyCheck: false,
    disableClientInfo: true,
    // Replies in the shape of RESP2, whichever protocol was negotiated.
    replyMapping: "legacy",
  };
}

/** IPv4 addresses in plain form, also on a dual-stack socket. */
function addressOf({ stream }: Redis): string | undefined {
  const address = "localAddress" in stream ? stream.localAddress : undefined;
  return address === undefined ? undefined : plainAddress(address);
}

function secretsOf({ at, login }: RedisTarget): string[] {
  const logins = at.kind === "sentinels" ? [login, at.login] : [login];
  return logins.flatMap(({ password }) => (password === undefined ? [] : [password]));
}
