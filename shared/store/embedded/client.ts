/**
 * The client of the embedded store: the contract over the Unix socket of `startStoreServer`.
 *
 * Requests are pipelined, and those of one tick are written together. While the store is unavailable every operation fails
 * at once, so nothing piles up, and the client keeps reconnecting.
 */
import { connect, type Socket } from "node:net";
import { type Backoff, backoffMs, HALF_RANDOM } from "../../base/backoff.ts";
import type { Clock, Timer } from "../../base/clock.ts";
import { describeError, EdgeError } from "../../base/errors.ts";
import { createListeners } from "../../base/listeners.ts";
import type { Log } from "../../logs/log.ts";
import type { Counters } from "../../metrics/metrics.ts";
import { type Change, type Store, StoreAwayError, type StoreHealth } from "../store.ts";
import { createLineReader } from "./format/lines.ts";
import { toOldCall, withNewReplyNames } from "./format/old-names.ts";
import type { Operation } from "./state/operations.ts";
import { MAX_REQUEST_BYTES, OPERATIONS, parseReply, type Reply, toLine } from "./wire.ts";

/** A response takes a fraction of a millisecond; after this long the store hangs. */
const RESPONSE_TIMEOUT_MS = 2000;
/** With jitter, because all processes lose the store at once. */
const RETRY: Backoff = { firstMs: 20, maxMs: 1000, jitter: HALF_RANDOM };
/** Requests without a response; one more fails, because the store must have stopped. */
const MAX_PENDING = 10_000;
const MAX_UNSENT_BYTES = 16 * 1024 * 1024;
const MAX_REPLY_BYTES = 256 * 1024 * 1024;
/** How long `close` waits for pending responses. */
const CLOSE_TIMEOUT_MS = 500;

/** The store rejects the request, and would again: a bug in the caller, or a value that is too large. */
export class StoreRefusedError extends EdgeError {
  readonly code = "EDGE_STORE_REFUSED";
  constructor(operation: string, why: string) {
    super(`the store refused ${operation}: ${why}; this is a bug, please report it`);
  }
}

/**
 * Connects to the store at `socketPath`, and reconnects until closed. Requests before the first connection wait for it.
 * Health is `away` until the first response.
 */
export function connectEmbeddedStore(deps: {
  readonly socketPath: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters?: Pick<Counters, "count" | "observe">;
  /** After this long without a response the store hangs; default 2 s. */
  readonly responseTimeoutMs?: number;
}): Store {
  const { clock, log, counters } = deps;
  const healthListeners = createListeners<[StoreHealth]>((err) =>
    log.error({ err }, "store health listener failed"),
  );
  const changeListeners = createListeners<[Change]>((err) =>
    log.error({ err }, "store change listener failed"),
  );
  let health: StoreHealth = { state: "away", reason: "not connected yet" };
  let connection: Connection | undefined;
  let retry: Timer | undefined;
  let failures = 0;
  let isClosed = false;

  function setHealth(next: StoreHealth): void {
    const isChange = next.state !== health.state;
    const wasTried = failures > 0;
    health = next;
    if (!isChange) return;
    if (next.state === "away") log.warn({ reason: next.reason }, "store unavailable");
    else if (wasTried) log.info("store available again");
    healthListeners.notify(next);
  }

  // --- connecting ---

  function open(): void {
    retry = undefined;
    const opened = createConnection({
      socketPath: deps.socketPath,
      responseTimeoutMs: deps.responseTimeoutMs,
      clock,
      onChanges(changes) {
        for (const change of changes) changeListeners.notify(change);
      },
      onLost: (reason) => lose(reason),
    });
    connection = opened;
    // A stopped process accepts connections too: only a response proves that the store works.
    opened.send("timeMs", []).then(
      () => {
        setHealth({ state: "up" });
        failures = 0;
      },
      () => {
        // `onLost` reports it.
      },
    );
  }

  function lose(reason: string): void {
    connection = undefined;
    if (isClosed) return;
    if (failures === 0 && health.state === "away") log.warn({ reason }, "store unavailable");
    failures++;
    setHealth({ state: "away", reason });
    retry = clock.after(backoffMs(RETRY, failures), open);
  }

  /** Whether to send requests: the store is up, or this is the first connection. */
  function isUsable(): boolean {
    return !isClosed && (health.state === "up" || failures === 0);
  }

  async function request(op: Operation, ...args: readonly unknown[]): Promise<unknown> {
    const sentMs = clock.nowMs();
    try {
      if (connection === undefined || !isUsable()) {
        const reason = health.state === "away" ? health.reason : "closed";
        throw new StoreAwayError(op, new Error(reason));
      }
      const value = await sendToAnyVersion(connection, op, args);
      counters?.observe("store.latency_ms", clock.nowMs() - sentMs);
      return value;
    } catch (error) {
      counters?.count("store.failures", op);
      throw error;
    }
  }

  open();
  const operations = createOperations(request);

  return {
    get health() {
      return health;
    },
    localAddress: undefined,
    onHealth: healthListeners.add,
    onChange: changeListeners.add,
    // A request on this machine costs next to nothing.
    deferred: operations,
    stopDeferring() {},
    async close() {
      const mayRespond = isUsable();
      isClosed = true;
      retry?.cancel();
      await connection?.close(mayRespond ? CLOSE_TIMEOUT_MS : 0);
    },

    ...operations,
  };
}

/** The server validates every argument, so the value has the type of the contract. */
type Request = (op: Operation, ...args: readonly unknown[]) => Promise<unknown>;

/** The operations of the contract, as requests: a store's method is its name and its arguments. */
function createOperations(request: Request): Pick<Store, Operation> {
  const methods = OPERATIONS.map((op) => [op, (...args: unknown[]) => request(op, ...args)]);
  return Object.fromEntries(methods) as Pick<Store, Operation>;
}

// --- one connection ---

type Connection = ReturnType<typeof createConnection>;

/** One version: repeats a call that the store refused under the name of the version before. */
async function sendToAnyVersion(
  connection: Connection,
  op: Operation,
  args: readonly unknown[],
): Promise<unknown> {
  try {
    return withNewReplyNames(op, await connection.send(op, args));
  } catch (refusal) {
    const old = refusal instanceof StoreRefusedError ? toOldCall({ op, args }) : undefined;
    if (old === undefined) throw refusal;
    const reply = await connection.send(old.op, old.args).catch((error: unknown) => {
      throw error instanceof StoreRefusedError ? refusal : error;
    });
    return old.toReply(reply);
  }
}

interface PendingRequest {
  readonly op: string;
  readonly sentMs: number;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

function createConnection(deps: {
  readonly socketPath: string;
  readonly clock: Clock;
  readonly onChanges: (changes: readonly Change[]) => void;
  /** Called once, also after `close`. */
  readonly onLost: (reason: string) => void;
  readonly responseTimeoutMs: number | undefined;
}) {
  const { clock, responseTimeoutMs = RESPONSE_TIMEOUT_MS } = deps;
  const socket: Socket = connect(deps.socketPath);
  /** In the order of requests, which is the order of responses. */
  const pendingById = new Map<number, PendingRequest>();
  let lastId = 0;
  let unsent = "";
  let timeout: Timer | undefined;
  let isLost = false;
  let onIdle: (() => void) | undefined;

  socket.on("error", (error) => lose(describeError(error)));
  socket.on("close", () => lose("connection closed"));
  const reader = createLineReader(MAX_REPLY_BYTES, (line) => {
    const reply = parseReply(line);
    if (reply !== undefined) handleReply(reply);
    return reply !== undefined;
  });
  socket.on("data", (chunk) => {
    if (!reader.push(chunk)) lose("invalid response: the peer is not the store");
  });

  function lose(reason: string): void {
    if (isLost) return;
    isLost = true;
    timeout?.cancel();
    socket.destroy();
    deps.onLost(reason);
    const cause = new Error(reason);
    for (const { op, reject } of pendingById.values()) reject(new StoreAwayError(op, cause));
    pendingById.clear();
    onIdle?.();
  }

  function handleReply(reply: Reply): void {
    if ("changes" in reply) {
      deps.onChanges(reply.changes);
      return;
    }
    const pending = pendingById.get(reply.id);
    pendingById.delete(reply.id);
    if ("error" in reply) pending?.reject(new StoreRefusedError(pending.op, reply.error));
    else pending?.resolve(reply.value);
    if (pendingById.size === 0) onIdle?.();
  }

  /** One timer for all: responses come in order, so only the oldest request can be late. */
  function checkOldest(): void {
    timeout = undefined;
    const [oldest] = pendingById.values();
    if (oldest === undefined || isLost) return;
    const leftMs = oldest.sentMs + responseTimeoutMs - clock.nowMs();
    if (leftMs <= 0) lose(`no response within ${responseTimeoutMs} ms`);
    else timeout = clock.after(leftMs, checkOldest);
  }

  function flush(): void {
    if (!isLost) socket.write(unsent);
    unsent = "";
  }

  return {
    /** Rejects with `StoreAwayError` when the connection is lost before the response, or no response comes in time. */
    send(op: string, args: readonly unknown[]): Promise<unknown> {
      if (isLost || pendingById.size >= MAX_PENDING || socket.writableLength > MAX_UNSENT_BYTES) {
        return Promise.reject(new StoreAwayError(op, new Error("too many pending requests")));
      }
      const id = ++lastId;
      const line = toLine({ id, op, args });
      if (isTooLong(line)) {
        return Promise.reject(new StoreRefusedError(op, "arguments too large"));
      }
      // In the next tick, so that all requests of this one go out in one write.
      if (unsent === "") process.nextTick(flush);
      unsent += line;
      return new Promise((resolve, reject) => {
        pendingById.set(id, { op, sentMs: clock.nowMs(), resolve, reject });
        timeout ??= clock.after(responseTimeoutMs, checkOldest);
      });
    },

    /** Waits up to `timeoutMs` for pending responses, then closes. */
    async close(timeoutMs: number): Promise<void> {
      if (pendingById.size > 0 && timeoutMs > 0) {
        await new Promise<void>((resolve) => {
          onIdle = resolve;
          clock.after(timeoutMs, resolve);
        });
      }
      lose("closed");
    },
  };
}

/** A UTF-16 unit takes at most 3 bytes in UTF-8. */
function isTooLong(line: string): boolean {
  return line.length * 3 > MAX_REQUEST_BYTES && Buffer.byteLength(line) > MAX_REQUEST_BYTES;
}
