/**
 * The connection on which scripts run, and what is known of the store's health. Up means: a script has just run there with
 * our rights and could write. While it is away every operation fails at once, so nothing piles up.
 */
import { type Clock, sleep, type Timer } from "../../../base/clock.ts";
import type { Log } from "../../../logs/log.ts";
import type { Counters } from "../../../metrics/metrics.ts";
import { StoreAwayError, type StoreHealth } from "../../store.ts";
import { loadScripts, type ScriptName } from "../scripts/load-scripts.ts";
import { StoreFullError, StoreRefusedError } from "../values/errors.ts";
import { type Fault, type FaultKind, isNewEnough, NotRedisError, tooOldFault } from "./faults.ts";
import { COMMAND_TIMEOUT_MS, createLink } from "./link.ts";
import type { RedisTarget } from "./target.ts";

/** Operations that wait for their answer; one more fails, because Redis must have stopped. */
const MAX_WAITING = 10_000;

/** What a server replies to every command for now, INFO among them. */
const UNREADY_KINDS: ReadonlySet<FaultKind> = new Set(["password", "loading", "replica", "busy"]);

export interface Connection {
  readonly health: StoreHealth;
  /** See `Store`. */
  readonly localAddress: string | undefined;
  onHealth(listener: (health: StoreHealth) => void): () => void;
  /**
   * Runs a script: all of it or, when it rejects, maybe all of it and maybe nothing. `operation` is what the caller was
   * asked for, for errors and counts.
   */
  run(operation: string, script: ScriptName, ...args: readonly string[]): Promise<unknown>;
  timeMs(): Promise<number>;
  close(): Promise<void>;
}

export interface ConnectionNeeds {
  readonly target: RedisTarget;
  readonly ca: string | undefined;
  readonly prefix: string;
  readonly name: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
}

export function openConnection(needs: ConnectionNeeds): Connection {
  const { clock, counters, prefix } = needs;
  const scripts = loadScripts();
  const report = createReport(needs);
  const listeners = new Set<(health: StoreHealth) => void>();
  let health: StoreHealth = { state: "away", reason: "not connected yet" };
  let isClosed = false;
  let waiting = 0;
  let greetAgain: Timer | undefined;

  // What is asked at the very start waits for the first word from Redis, or of its absence.
  let isDecided = false;
  let decide = (): void => {};
  const first = new Promise<void>((resolve) => {
    decide = () => {
      isDecided = true;
      resolve();
    };
  });

  const link = createLink({
    target: needs.target,
    ca: needs.ca,
    prefix,
    name: needs.name,
    clock,
    onConnected: () => void greet(),
    onFault: becomeAway,
  });

  // --- health ---

  function becomeAway(fault: Fault): void {
    if (isClosed) return;
    const reason = `Redis at ${needs.target.label}: ${fault.reason}`;
    setHealth({ state: "away", reason });
    report.away(fault.kind, reason);
  }

  function setHealth(next: StoreHealth): void {
    const isChange = next.state !== health.state;
    health = next;
    decide();
    if (!isChange) return;
    for (const listener of listeners) {
      try {
        listener(next);
      } catch (error) {
        needs.log.error({ err: error }, "store health listener failed");
      }
    }
  }

  // --- greeting a new connection ---

  async function greet(): Promise<void> {
    greetAgain?.cancel();
    const { redis } = link;
    try {
      const info = parseInfo(await redis.info().catch(ignoreRefusal));
      const version = info["redis_version"] ?? "unknown";
      if (!isNewEnough(version)) return refuse(tooOldFault(version));
      if ((await evaluate("greet", [])) !== "ok") throw new NotRedisError();
      if (isClosed || redis.status !== "ready" || health.state === "up") return;
      link.succeeded();
      setHealth({ state: "up" });
      report.up(version, info["maxmemory_policy"]);
    } catch (error) {
      refuse(link.explain(error));
    }
  }

  /** INFO only tells the version. Where it is renamed or denied, whatever the wording, the version is not checked. */
  function ignoreRefusal(error: unknown): string {
    const isReply = error instanceof Error && error.name === "ReplyError";
    if (isReply && !UNREADY_KINDS.has(link.explain(error).kind)) return "";
    throw error;
  }

  function refuse(fault: Fault): void {
    if (isClosed) return;
    becomeAway(fault);
    const delayMs = link.nextDelayMs(fault);
    greetAgain = clock.after(delayMs, () => {
      if (link.redis.status !== "ready") return;
      // An address may lead to another node the next time; the answer of this one to a greeting will change by itself.
      if (fault.reconnect || fault.slow) link.reconnect();
      else void greet();
    });
  }

  // --- running ---

  async function evaluate(name: ScriptName, args: readonly string[]): Promise<unknown> {
    const { sha1, source } = scripts[name];
    try {
      return await link.redis.evalsha(sha1, 1, prefix, ...args);
    } catch (error) {
      // A Redis that was restarted, or another one after a fail-over, does not know the script; it did nothing.
      if (!(error instanceof Error && error.message.includes("NOSCRIPT"))) throw error;
      return await link.redis.eval(source, 1, prefix, ...args);
    }
  }

  async function perform<T>(operation: string, action: () => Promise<T>): Promise<T> {
    if (!isDecided) await Promise.race([first, sleep(clock, COMMAND_TIMEOUT_MS)]);
    try {
      if (isClosed) throw new StoreAwayError(operation, new Error("closed"));
      if (health.state === "away") throw new StoreAwayError(operation, new Error(health.reason));
      if (waiting >= MAX_WAITING) {
        throw new StoreAwayError(operation, new Error("too many pending operations"));
      }
      return await attempt(operation, action);
    } catch (error) {
      counters.count("store.failures", operation);
      throw error;
    }
  }

  async function attempt<T>(operation: string, action: () => Promise<T>): Promise<T> {
    waiting++;
    const askedMs = clock.nowMs();
    try {
      const result = await action();
      counters.observe("store.latency_ms", clock.nowMs() - askedMs);
      report.done(operation);
      return result;
    } catch (error) {
      throw judge(operation, link.explain(error));
    } finally {
      waiting--;
    }
  }

  /** What a failed operation means for the store, and for its caller. */
  function judge(operation: string, fault: Fault): Error {
    if (fault.kind === "full") {
      report.full(operation);
      return new StoreFullError(operation);
    }
    if (!fault.away) {
      report.refused(operation, fault.reason);
      return new StoreRefusedError(operation, fault.reason);
    }
    if (health.state === "up") {
      becomeAway(fault);
      if (fault.reconnect) link.reconnect();
      else refuse(fault);
    }
    return new StoreAwayError(operation, new Error(fault.reason));
  }

  return {
    get health() {
      return health;
    },
    get localAddress() {
      return link.localAddress;
    },
    onHealth(listener) {
      const own = (next: StoreHealth): void => listener(next);
      listeners.add(own);
      return () => listeners.delete(own);
    },
    run: (operation, script, ...args) => perform(operation, () => evaluate(script, args)),
    timeMs: () =>
      perform("timeMs", async () => {
        const [seconds, micros] = await link.redis.time();
        return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
      }),
    async close() {
      if (isClosed) return;
      isClosed = true;
      health = { state: "away", reason: "closed" };
      decide();
      greetAgain?.cancel();
      listeners.clear();
      await link.close();
    },
  };
}

// --- what operators are told ---

/** Redis just is not there. */
const PLAIN_KINDS: ReadonlySet<FaultKind> = new Set([
  "lost",
  "unanswered",
  "refused",
  "unreachable",
  "slow",
]);

/** One line for each change of state; for a store that stays away, one for each new reason. */
function createReport(needs: ConnectionNeeds) {
  const { clock, log } = needs;
  const redis = needs.target.label;
  const toldKinds = new Set<FaultKind>();
  const refusedOperations = new Set<string>();
  const fullOperations = new Set<string>();
  let awaySinceMs: number | undefined;
  let toldPolicy: string | undefined;

  return {
    away(kind: FaultKind, reason: string): void {
      awaySinceMs ??= clock.nowMs();
      // A connection that was lost is refused, and times out, while Redis is restarted or moved: one story.
      const isPlain = PLAIN_KINDS.has(kind);
      if (toldKinds.has(kind) || (isPlain && toldKinds.size > 0)) return;
      toldKinds.add(kind);
      log.warn({ reason }, "store unavailable");
    },
    up(version: string, policy: string | undefined): void {
      const awayMs =
        awaySinceMs === undefined ? undefined : Math.round(clock.nowMs() - awaySinceMs);
      awaySinceMs = undefined;
      toldKinds.clear();
      if (awayMs === undefined) log.info({ redis, version }, "connected to the store");
      else log.info({ redis, version, awayMs }, "store available again");
      if (policy !== undefined && policy !== "noeviction" && policy !== toldPolicy) {
        log.warn(
          { policy },
          "Redis may evict records when its memory is full; set maxmemory-policy noeviction",
        );
      }
      toldPolicy = policy;
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

/** The fields of INFO, as far as they are `name:value`; none when the reply is no text. */
function parseInfo(text: unknown): Record<string, string> {
  if (typeof text !== "string") return {};
  return Object.fromEntries(
    text.split("\r\n").flatMap((line) => {
      const at = line.indexOf(":");
      return at > 0 ? [[line.slice(0, at), line.slice(at + 1, at + 101)]] : [];
    }),
  );
}
