/**
 * The connection that runs the scripts, and the health of the store. Up means: a script has run with our permissions and
 * could write. While the store is away every operation fails at once, so nothing piles up.
 */
import { type Clock, sleep, type Timer } from "../../../base/clock.ts";
import { EdgeError } from "../../../base/errors.ts";
import { createListeners } from "../../../base/listeners.ts";
import type { Log } from "../../../logs/log.ts";
import type { Counters } from "../../../metrics/metrics.ts";
import { StoreAwayError, StoreFullError, type StoreHealth } from "../../store.ts";
import {
  type HeartbeatScript,
  loadScripts,
  type Script,
  type ScriptName,
} from "../scripts/load-scripts.ts";
import { expectReply, heartbeatSchema } from "../values/replies.ts";
import { type Fault, type FaultKind, isNewEnough, NotRedisError, tooOldFault } from "./faults.ts";
import { COMMAND_TIMEOUT_MS, createLink, type Link } from "./link.ts";
import type { RedisTarget } from "./target.ts";

/** Operations without a reply; one more fails, because Redis must have stopped. */
const MAX_PENDING = 10_000;

/** Errors that a server replies to every command for now, INFO included. */
const UNREADY_KINDS: ReadonlySet<FaultKind> = new Set(["password", "loading", "replica", "busy"]);

/**
 * Redis refused this operation: a missing permission, or a bug. Nothing was changed. Its cause never contains what was sent:
 * ioredis attaches the arguments of a command to its errors, passwords included.
 */
export class StoreRefusedError extends EdgeError {
  readonly code = "EDGE_STORE_REFUSED";
  constructor(operation: string, why: string) {
    super(`Redis refused ${operation}: ${why}`);
  }
}

export interface Runner {
  /** Runs the script of an operation. When it rejects, the script may have run completely or not at all. */
  run(operation: ScriptName, ...args: readonly string[]): Promise<unknown>;
}

export interface Call {
  readonly operation: HeartbeatScript;
  readonly args: readonly string[];
}

interface HeartbeatReply {
  /** Number of the store's last change, as published (feed.ts). */
  readonly version: number;
  readonly outcomes: readonly PromiseSettledResult<unknown>[];
}

export type Connection = ReturnType<typeof openConnection>;

interface ConnectionDeps {
  readonly target: RedisTarget;
  readonly ca: string | undefined;
  readonly prefix: string;
  readonly name: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
}

export function openConnection(deps: ConnectionDeps) {
  const { clock, counters } = deps;
  const scripts = loadScripts();
  const report = createReport(deps);
  const health = createHealth(deps.log);
  let isClosed = false;
  let pending = 0;
  let greetAgain: Timer | undefined;

  const link = createLink({ ...deps, onConnected: () => void greet(), onFault: becomeAway });

  function becomeAway(fault: Fault): void {
    if (isClosed) return;
    const reason = `Redis at ${deps.target.label}: ${fault.reason}`;
    health.set({ state: "away", reason });
    report.away(fault.kind, reason);
  }

  async function greet(): Promise<void> {
    greetAgain?.cancel();
    const { redis } = link;
    try {
      const { version, policy } = await readInfo(link);
      if (!isNewEnough(version)) return refuse(tooOldFault(version));
      if ((await evaluate("greet", [])) !== "ok") throw new NotRedisError();
      if (isClosed || redis.status !== "ready" || health.current.state === "up") return;
      link.succeeded();
      health.set({ state: "up" });
      report.up(version, policy);
    } catch (error) {
      refuse(link.explain(error));
    }
  }

  function refuse(fault: Fault): void {
    if (isClosed) return;
    becomeAway(fault);
    const delayMs = link.nextDelayMs(fault);
    greetAgain = clock.after(delayMs, () => {
      if (link.redis.status !== "ready") return;
      // Reconnecting may reach another node; otherwise this node's reply to `greet` changes by itself.
      if (fault.reconnect || fault.slow) link.reconnect();
      else void greet();
    });
  }

  const evaluate = (name: Script["name"], args: readonly string[]): Promise<unknown> =>
    evaluateScript(link.redis, scripts[name], deps.prefix, args);

  function reasonToFail(): string | undefined {
    if (health.current.state === "away") return health.current.reason;
    return pending >= MAX_PENDING ? "too many pending operations" : undefined;
  }

  async function perform<T>(operation: string, action: () => Promise<T>): Promise<T> {
    if (!health.isKnown) await Promise.race([health.known, sleep(clock, COMMAND_TIMEOUT_MS)]);
    try {
      const reason = reasonToFail();
      if (reason !== undefined) throw new StoreAwayError(operation, new Error(reason));
      return await attempt(operation, action);
    } catch (error) {
      counters.count("store.failures", operation);
      throw error;
    }
  }

  async function attempt<T>(operation: string, action: () => Promise<T>): Promise<T> {
    pending++;
    const sentMs = clock.nowMs();
    try {
      const result = await action();
      counters.observe("store.latency_ms", clock.nowMs() - sentMs);
      report.done(operation);
      return result;
    } catch (error) {
      throw handleFault(operation, link.explain(error));
    } finally {
      pending--;
    }
  }

  /**
   * Runs several scripts as one, in this order. Each has its own outcome, as of `run`. When it rejects, all of them may have run
   * or none.
   */
  async function runTogether(calls: readonly Call[]): Promise<HeartbeatReply> {
    const args = calls.flatMap(({ operation, args }) => [operation, String(args.length), ...args]);
    const reply = await perform("heartbeat", () => evaluate("heartbeat", args));
    const [version, ...results] = expectReply(heartbeatSchema, reply);
    const outcomes = calls.map(({ operation }, i) => toOutcome(operation, results[i]));
    return { version, outcomes };
  }

  function toOutcome(operation: string, result: unknown[] = []): PromiseSettledResult<unknown> {
    const [isDone, value] = result;
    if (isDone === 1) {
      report.done(operation);
      return { status: "fulfilled", value };
    }
    counters.count("store.failures", operation);
    const reason = handleFault(operation, link.explain(new Error(String(value))));
    return { status: "rejected", reason };
  }

  /** Updates the health after a failed operation, and returns the error for the caller. */
  function handleFault(operation: string, fault: Fault): Error {
    if (fault.kind === "full") {
      counters.count("store.refusals", "full");
      report.full(operation);
      return new StoreFullError(operation);
    }
    if (!fault.away) {
      counters.count("store.refusals", "refused");
      report.refused(operation, fault.reason);
      return new StoreRefusedError(operation, fault.reason);
    }
    if (health.current.state === "up") {
      becomeAway(fault);
      if (fault.reconnect) link.reconnect();
      else refuse(fault);
    }
    return new StoreAwayError(operation, new Error(fault.reason));
  }

  return {
    get health(): StoreHealth {
      return health.current;
    },
    /** See `Store`. */
    get localAddress(): string | undefined {
      return link.localAddress;
    },
    onHealth: health.listeners.add,
    run: (operation: ScriptName, ...args: readonly string[]) =>
      perform(operation, () => evaluate(operation, args)),
    runTogether,
    timeMs: () => perform("timeMs", () => readTimeMs(link.redis)),
    async close(): Promise<void> {
      if (isClosed) return;
      isClosed = true;
      greetAgain?.cancel();
      health.listeners.clear();
      health.set({ state: "away", reason: "closed" });
      await link.close();
    },
  };
}

async function evaluateScript(
  redis: Link["redis"],
  { sha1, source }: Script,
  prefix: string,
  args: readonly string[],
): Promise<unknown> {
  try {
    return await redis.evalsha(sha1, 1, prefix, ...args);
  } catch (error) {
    // A restarted Redis, or another node after a fail-over, does not have the script; it did nothing.
    if (!(error instanceof Error && error.message.includes("NOSCRIPT"))) throw error;
    return await redis.eval(source, 1, prefix, ...args);
  }
}

async function readTimeMs(redis: Link["redis"]): Promise<number> {
  const [seconds, micros] = await redis.time();
  return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
}

/** INFO is needed for the version only: where it is renamed or denied, in any wording, the version is not checked. */
async function readInfo(
  link: Link,
): Promise<{ readonly version: string; readonly policy: string | undefined }> {
  const text = await link.redis.info().catch((error: unknown) => {
    const isReply = error instanceof Error && error.name === "ReplyError";
    if (isReply && !UNREADY_KINDS.has(link.explain(error).kind)) return "";
    throw error;
  });
  const info = parseInfo(text);
  return { version: info["redis_version"] ?? "unknown", policy: info["maxmemory_policy"] };
}

// --- health ---

function createHealth(log: Log) {
  const listeners = createListeners<[StoreHealth]>((err) =>
    log.error({ err }, "store health listener failed"),
  );
  let current: StoreHealth = { state: "away", reason: "not connected yet" };
  let isKnown = false;
  let markKnown = (): void => {};
  const known = new Promise<void>((resolve) => {
    markKnown = resolve;
  });

  return {
    listeners,
    get current() {
      return current;
    },
    /** Whether the first connection has succeeded or failed: operations at the start wait for it. */
    get isKnown() {
      return isKnown;
    },
    known,
    set(next: StoreHealth): void {
      const isChange = next.state !== current.state;
      current = next;
      isKnown = true;
      markKnown();
      if (isChange) listeners.notify(next);
    },
  };
}

// --- logs ---

/** Redis is unreachable, whatever the symptom. */
const UNREACHABLE_KINDS: ReadonlySet<FaultKind> = new Set([
  "lost",
  "unanswered",
  "refused",
  "unreachable",
  "slow",
]);

/** Logs one line for each change of health, and for each new reason while the store is away. */
function createReport(deps: ConnectionDeps) {
  const { clock, log } = deps;
  const redis = deps.target.label;
  const loggedKinds = new Set<FaultKind>();
  const refusedOperations = new Set<string>();
  const fullOperations = new Set<string>();
  let awaySinceMs: number | undefined;
  let loggedPolicy: string | undefined;

  return {
    away(kind: FaultKind, reason: string): void {
      awaySinceMs ??= clock.nowMs();
      // While Redis restarts or moves, connections are lost, refused and time out: one line for all.
      const isUnreachable = UNREACHABLE_KINDS.has(kind);
      if (loggedKinds.has(kind) || (isUnreachable && loggedKinds.size > 0)) return;
      loggedKinds.add(kind);
      log.warn({ reason }, "store unavailable");
    },
    up(version: string, policy: string | undefined): void {
      const awayMs =
        awaySinceMs === undefined ? undefined : Math.round(clock.nowMs() - awaySinceMs);
      awaySinceMs = undefined;
      loggedKinds.clear();
      if (awayMs === undefined) log.info({ redis, version }, "connected to the store");
      else log.info({ redis, version, awayMs }, "store available again");
      if (policy !== undefined && policy !== "noeviction" && policy !== loggedPolicy) {
        log.warn(
          { policy },
          "Redis may evict records when its memory is full; set maxmemory-policy noeviction",
        );
      }
      loggedPolicy = policy;
    },
    full(operation: string): void {
      if (fullOperations.size === 0) {
        log.error(
          { redis, operation },
          "the store is full and accepts no new records; raise maxmemory in Redis",
        );
      }
      fullOperations.add(operation);
    },
    done(operation: string): void {
      if (!fullOperations.delete(operation)) return;
      fullOperations.clear();
      log.info({ redis, operation }, "the store accepts new records again");
    },
    refused(operation: string, reason: string): void {
      if (refusedOperations.has(operation)) return;
      refusedOperations.add(operation);
      log.error({ operation, reason }, "Redis refused an operation");
    },
  };
}

/** The `name:value` fields of INFO; none when the reply is not text. */
function parseInfo(text: unknown): Record<string, string> {
  if (typeof text !== "string") return {};
  return Object.fromEntries(
    text.split("\r\n").flatMap((line) => {
      const at = line.indexOf(":");
      return at > 0 ? [[line.slice(0, at), line.slice(at + 1, at + 101)]] : [];
    }),
  );
}
