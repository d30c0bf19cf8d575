/**
 * The embedded store as its client processes see it: the contract, asked over the Unix socket of `startStoreServer`.
 *
 * Questions are pipelined; what is asked in one go is written in one go. While the store is away every operation fails at
 * once, so nothing piles up, and the connection is tried again and again.
 */
import { connect, type Socket } from "node:net";
import type { Clock, Timer } from "../../base/clock.ts";
import { describeError, EdgeError } from "../../base/errors.ts";
import type { Log } from "../../logs/log.ts";
import type { Counters } from "../../metrics/metrics.ts";
import {
  type Change,
  type CreateOutcome,
  type ResumeOutcome,
  type SessionRecord,
  type Store,
  StoreAwayError,
  type StoreHealth,
} from "../store.ts";
import { createLineReader } from "./format/lines.ts";
import { withNewRecordNames, withNewReplyNames, withOldCallNames } from "./format/old-names.ts";
import type { Operation } from "./state/operations.ts";
import { MAX_REQUEST_BYTES, parseReply, type Reply, toLine } from "./wire.ts";

/** An answer takes a fraction of a millisecond; this long means that the store hangs. */
const ANSWER_TIMEOUT_MS = 2000;
const FIRST_RETRY_MS = 20;
const MAX_RETRY_MS = 1000;
/** Questions that wait for their answer; one more fails, because the store must have stopped. */
const MAX_WAITING = 10_000;
const MAX_UNSENT_BYTES = 16 * 1024 * 1024;
const MAX_REPLY_BYTES = 256 * 1024 * 1024;
/** How long `close` waits for answers that are under way. */
const CLOSE_TIMEOUT_MS = 500;

/** The store will not do what it was asked, however often: a bug of the asker, or a value that is too large. */
export class StoreRefusedError extends EdgeError {
  readonly code = "EDGE_STORE_REFUSED";
  readonly source = "internal";
  readonly retryable = false;
  constructor(operation: string, why: string) {
    super(`the store refused ${operation}: ${why}; this is a bug, please report it`);
  }
}

/**
 * A client of the store that listens on `socketPath`. It connects at once and stays at it; what is asked before the first
 * connection stands waits for it. Health is `away` until the store has answered for the first time.
 */
export function connectEmbeddedStore(needs: {
  readonly socketPath: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters?: Pick<Counters, "count" | "observe">;
}): Store {
  const { clock, log, counters } = needs;
  const healthListeners = new Set<(health: StoreHealth) => void>();
  const changeListeners = new Set<(change: Change) => void>();
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
    tell(healthListeners, next, log);
  }

  // --- connecting ---

  function open(): void {
    retry = undefined;
    const opened = createConnection({
      socketPath: needs.socketPath,
      clock,
      onChanges(changes) {
        for (const change of changes) tell(changeListeners, change, log);
      },
      onLost: (reason) => lose(reason),
    });
    connection = opened;
    // A connection proves little: a stopped process is connected to as well. Only an answer counts.
    opened.ask("timeMs", []).then(
      () => {
        setHealth({ state: "up" });
        failures = 0;
      },
      () => {
        // `onLost` says it.
      },
    );
  }

  function lose(reason: string): void {
    connection = undefined;
    if (isClosed) return;
    if (failures === 0 && health.state === "away") log.warn({ reason }, "store unavailable");
    failures++;
    setHealth({ state: "away", reason });
    const delayMs = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(failures, 10));
    // Jitter, because all processes lose the store at the same moment.
    retry = clock.after(delayMs * (0.5 + Math.random() / 2), open);
  }

  /** Whether questions are put: to a store that is up, or that is connected to for the first time. */
  function isAsked(): boolean {
    return !isClosed && (health.state === "up" || failures === 0);
  }

  async function ask<T>(op: Operation, ...args: readonly unknown[]): Promise<T> {
    const askedMs = clock.nowMs();
    try {
      if (connection === undefined || !isAsked()) {
        const reason = health.state === "away" ? health.reason : "closed";
        throw new StoreAwayError(op, new Error(reason));
      }
      const value = await sendToAnyVersion(connection, op, args);
      counters?.observe("store.latency_ms", clock.nowMs() - askedMs);
      // The server checks every argument, so the value is what the contract promises.
      return value as T;
    } catch (error) {
      counters?.count("store.failures", op);
      throw error;
    }
  }

  open();

  return {
    get health() {
      return health;
    },
    localAddress: undefined,
    onHealth: (listener) => addListener(healthListeners, listener),
    onChange: (listener) => addListener(changeListeners, listener),
    async close() {
      const mayAnswer = isAsked();
      isClosed = true;
      retry?.cancel();
      await connection?.close(mayAnswer ? CLOSE_TIMEOUT_MS : 0);
    },

    timeMs: () => ask("timeMs"),
    announce: (member) => ask("announce", member),
    renew: (member) => ask("renew", member),
    withdraw: (id, incarnation) => ask("withdraw", id, incarnation),
    members: () => ask("members"),
    lead: (role, holder, ttlMs) => ask("lead", role, holder, ttlMs),
    resign: (role, holder) => ask("resign", role, holder),

    createSession: async (create) =>
      withNewReplyNames(await ask<CreateOutcome>("createSession", create)),
    resumeSession: async (resume) =>
      withNewReplyNames(await ask<ResumeOutcome>("resumeSession", resume)),
    reassertSession: (reassertion) => ask("reassertSession", reassertion),
    findSession: async (key) =>
      withNewRecordNames(await ask<SessionRecord | undefined>("findSession", key)),
    sessionsOf: (owner) => ask("sessionsOf", owner),
    owners: () => ask("owners"),
    releaseSession: (holder, to) => ask("releaseSession", holder, to),
    closeSession: (holder, untilMs) => ask("closeSession", holder, untilMs),
    openSession: (holder) => ask("openSession", holder),
    putPeer: (holder, peer) => ask("putPeer", holder, peer),
    removePeer: (holder, peer, untilMs) => ask("removePeer", holder, peer, untilMs),
    nextClock: (holder) => ask("nextClock", holder),

    putTicket: (ticket) => ask("putTicket", ticket),
    readTicket: (kind, token) => ask("readTicket", kind, token),
    answerTicket: (kind, token, answer) => ask("answerTicket", kind, token, answer),
    dropTicket: (kind, token) => ask("dropTicket", kind, token),
    ticketsOf: (kind, group) => ask("ticketsOf", kind, group),

    revokeToken: (tokenId, untilMs) => ask("revokeToken", tokenId, untilMs),
    isTokenRevoked: (tokenId) => ask("isTokenRevoked", tokenId),

    putIfAbsent: (name, proposal) => ask("putIfAbsent", name, proposal),

    addToCounters: (increments) => ask("addToCounters", increments),
    readCounters: (prefix) => ask("readCounters", prefix),
    appendEvent: (event) => ask("appendEvent", event),
    readEvents: (query) => ask("readEvents", query),
    appendToStream: (stream, texts) => ask("appendToStream", stream, texts),
    readStream: (stream, query) => ask("readStream", stream, query),
    report: (kind, id, text, ttlMs) => ask("report", kind, id, text, ttlMs),
    readReports: (kind) => ask("readReports", kind),
  };
}

// --- one connection, from its birth to its loss ---

interface Connection {
  /** Rejects with `StoreAwayError` when the connection is lost first, or no answer came in time. */
  ask(op: string, args: readonly unknown[]): Promise<unknown>;
  /** Waits up to `patienceMs` for answers that are under way, then ends. */
  close(patienceMs: number): Promise<void>;
}

/** One version: a store that refuses a call under its name of today gets it under the name before. */
async function sendToAnyVersion(
  connection: Connection,
  op: Operation,
  args: readonly unknown[],
): Promise<unknown> {
  try {
    return await connection.ask(op, args);
  } catch (refusal) {
    const old = refusal instanceof StoreRefusedError ? withOldCallNames({ op, args }) : undefined;
    if (old === undefined) throw refusal;
    return await connection.ask(old.op, old.args).catch((error: unknown) => {
      throw error instanceof StoreRefusedError ? refusal : error;
    });
  }
}

interface Waiting {
  readonly op: string;
  readonly sentMs: number;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

function createConnection(needs: {
  readonly socketPath: string;
  readonly clock: Clock;
  readonly onChanges: (changes: readonly Change[]) => void;
  /** Called once, also when it was closed. */
  readonly onLost: (reason: string) => void;
}): Connection {
  const { clock } = needs;
  const socket: Socket = connect(needs.socketPath);
  /** In the order of asking, which is the order of answers. */
  const waitingById = new Map<number, Waiting>();
  let lastId = 0;
  let unsent = "";
  let watch: Timer | undefined;
  let isLost = false;
  let onIdle: (() => void) | undefined;

  socket.on("error", (error) => lose(describeError(error)));
  socket.on("close", () => lose("connection closed"));
  const reader = createLineReader(MAX_REPLY_BYTES, (line) => {
    const reply = parseReply(line);
    if (reply !== undefined) take(reply);
    return reply !== undefined;
  });
  socket.on("data", (chunk) => {
    if (!reader.push(chunk)) lose("invalid response: the peer is not the store");
  });

  function lose(reason: string): void {
    if (isLost) return;
    isLost = true;
    watch?.cancel();
    socket.destroy();
    needs.onLost(reason);
    const cause = new Error(reason);
    for (const { op, reject } of waitingById.values()) reject(new StoreAwayError(op, cause));
    waitingById.clear();
    onIdle?.();
  }

  function take(reply: Reply): void {
    if ("changes" in reply) {
      needs.onChanges(reply.changes);
      return;
    }
    const waiting = waitingById.get(reply.id);
    waitingById.delete(reply.id);
    if ("error" in reply) waiting?.reject(new StoreRefusedError(waiting.op, reply.error));
    else waiting?.resolve(reply.value);
    if (waitingById.size === 0) onIdle?.();
  }

  /** One timer for all: answers come in order, so only the oldest question can be late. */
  function watchOldest(): void {
    watch = undefined;
    const [oldest] = waitingById.values();
    if (oldest === undefined || isLost) return;
    const leftMs = oldest.sentMs + ANSWER_TIMEOUT_MS - clock.nowMs();
    if (leftMs <= 0) lose(`no response within ${ANSWER_TIMEOUT_MS} ms`);
    else watch = clock.after(leftMs, watchOldest);
  }

  function flush(): void {
    if (!isLost) socket.write(unsent);
    unsent = "";
  }

  return {
    ask(op, args) {
      if (isLost || waitingById.size >= MAX_WAITING || socket.writableLength > MAX_UNSENT_BYTES) {
        return Promise.reject(new StoreAwayError(op, new Error("too many pending requests")));
      }
      const id = ++lastId;
      const line = toLine({ id, op, args });
      if (isTooLong(line)) {
        return Promise.reject(new StoreRefusedError(op, "arguments too large"));
      }
      // After the current piece of work, so that whatever it asks goes out in one write.
      if (unsent === "") process.nextTick(flush);
      unsent += line;
      return new Promise((resolve, reject) => {
        waitingById.set(id, { op, sentMs: clock.nowMs(), resolve, reject });
        watch ??= clock.after(ANSWER_TIMEOUT_MS, watchOldest);
      });
    },

    async close(patienceMs) {
      if (waitingById.size > 0 && patienceMs > 0) {
        await new Promise<void>((resolve) => {
          onIdle = resolve;
          clock.after(patienceMs, resolve);
        });
      }
      lose("closed");
    },
  };
}

/** A character has 3 bytes at most in UTF-8 (one outside the basic plane is two characters here). */
function isTooLong(line: string): boolean {
  return line.length * 3 > MAX_REQUEST_BYTES && Buffer.byteLength(line) > MAX_REQUEST_BYTES;
}

// --- listeners ---

function addListener<T>(
  listeners: Set<(value: T) => void>,
  listener: (value: T) => void,
): () => void {
  // A function of its own, so that adding the same listener twice means two calls.
  const own = (value: T): void => listener(value);
  listeners.add(own);
  return () => listeners.delete(own);
}

/** A listener that throws must not end the process, nor keep the news from the others. */
function tell<T>(listeners: ReadonlySet<(value: T) => void>, value: T, log: Log): void {
  for (const listener of listeners) {
    try {
      listener(value);
    } catch (error) {
      log.error({ err: error }, "store listener failed");
    }
  }
}
