/**
 * One worker as the balancer sees it: its address (only ever from membership), whether it is well, how busy it is, and
 * the connections that are kept to it.
 */
import type { Clock, Timer } from "../../shared/base/clock.ts";
import { errorCode } from "../../shared/base/errors.ts";
import type { Incarnation, WorkerId } from "../../shared/base/ids.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { WorkerRecord } from "../../shared/store/member.ts";
import type { Deadlines } from "../transport/deadlines.ts";
import type { Address, BugReport, Connection, Dial, Transport } from "../transport/transport.ts";
import { type ResponseHandler, UpstreamConnection, UpstreamError } from "./connection.ts";
import {
  type FailureReason,
  HEALTHY,
  type Health,
  type HealthEvent,
  nextHealth,
} from "./health.ts";
import { type Probe, ProbeError, ProofRefusedError } from "./probe.ts";

/** Idle connections kept to one worker. */
const MAX_IDLE = 256;
/**
 * How long one is kept at most: less than the 70 s of our workers, so that a request hardly ever meets the end of it. A
 * worker that announces a shorter time (`Keep-Alive: timeout=`) is believed.
 */
const MAX_IDLE_MS = 60_000;
/** Each worker is asked so often, from question to question. */
const PROBE_PERIOD_MS = 1000;
/** First look at a worker that failed. */
const FIRST_PROBE_MS = 200;
/** A worker that takes its record out may still answer what it has; whatever is under way after this is given up. */
const RETIRED_GRACE_MS = 1000;

/** What waits for a worker that fell silent or died is sent elsewhere over 200 ms, in so many steps. */
const SPREAD_STEPS = 100;
const SPREAD_STEP_MS = 2;

export interface UpstreamDeps {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly log: Log;
  readonly deadlines: Deadlines;
  readonly connectTimeoutMs: number;
  /** Requests that one worker may have at a time. */
  readonly maxRequestsPerWorker: number;
  /** Makes `x-ct-edge`, if there is one. */
  readonly prove: (record: WorkerRecord) => string | undefined;
  readonly probe: Probe;
  /** Whether a lease says for how long a silent worker still owns its sessions. */
  readonly isLeased: boolean;
  readonly reportBug: BugReport;
  /** Called after each change of its health. */
  readonly onHealth: () => void;
  /** Called when a worker has proved, in answer to a probe, that it lives another life than its record says. */
  readonly onOtherIncarnation: (id: WorkerId, life: Incarnation) => void;
}

export class Upstream {
  readonly id: WorkerId;
  /** `x-ct-edge` for this incarnation; undefined without a secret. */
  readonly proof: string | undefined;
  /** `host:port`. */
  readonly host: string;
  readonly #address: Address;
  readonly #deps: UpstreamDeps;
  readonly #idle: Idle[] = [];
  readonly #pruning: Timer;
  /** Connections that a request is under way on. */
  readonly #busy = new Set<UpstreamConnection>();
  readonly #onDown = new Set<() => void>();
  #record: WorkerRecord;
  #health: Health = HEALTHY;
  /** When the last probe was sent. */
  #probedMs = 0;
  #nextProbe: Timer | undefined;
  #retired = false;
  /** Requests and tunnels that are under way. */
  inFlight = 0;
  /** Requests that are under way: those of `inFlight` that are no tunnels. */
  requests = 0;
  /** Keyless creates sent since the worker last said how many sessions it has. */
  #sentCreates = 0;

  constructor(record: WorkerRecord, deps: UpstreamDeps) {
    this.#deps = deps;
    this.#record = record;
    this.id = record.id;
    this.proof = deps.prove(record);
    this.#address = parseAddress(record.url);
    this.host = new URL(record.url).host;
    this.#pruning = deps.clock.every(MAX_IDLE_MS / 4, () => this.#prune());
    this.#probeAfter(0);
  }

  /** Asks at once, because there is something that it must hear: a probe tells it how the store is. */
  probeSoon(): void {
    if (!this.#retired) this.#probeAfter(0);
  }

  get record(): WorkerRecord {
    return this.#record;
  }

  /** What its failures and answers say of it; what that means for routing, the router decides. */
  get health(): Health {
    return this.#health;
  }

  /** Whether it has as many requests as it may have: one more is refused, never kept waiting. */
  get isFull(): boolean {
    return this.requests >= this.#deps.maxRequestsPerWorker;
  }

  /**
   * Whether it has too many also for a request that continues an engine.io connection. Twice as many may be there: it only
   * finishes what the worker has let begin, and a client whose handshake breaks off in the middle begins anew, which is
   * more work for a worker that has too much already.
   */
  get isOverfull(): boolean {
    return this.requests >= 2 * this.#deps.maxRequestsPerWorker;
  }

  /** Sessions, with those that are on their way to it. */
  get sessions(): number {
    return this.#record.load.sessions + this.#sentCreates;
  }

  noteCreate(): void {
    this.#sentCreates++;
  }

  /** A new beat of the same incarnation at the same address. */
  update(record: WorkerRecord): void {
    if (record.load !== this.#record.load) this.#sentCreates = 0;
    this.#record = record;
  }

  /** Whether `record` is the same life of the same worker at the same place. */
  isSame(record: WorkerRecord): boolean {
    return (
      record.incarnation === this.#record.incarnation &&
      record.url === this.#record.url &&
      record.statusUrl === this.#record.statusUrl
    );
  }

  /**
   * Its lease is gone, or another life of it has begun: it is not asked any more, and tunnels end. Requests under way may
   * finish, for a moment.
   */
  retire(): void {
    this.#retired = true;
    this.#pruning.cancel();
    this.#nextProbe?.cancel();
    this.#apply({ event: "lease-expired", atMs: this.#deps.clock.nowMs() });
    this.#deps.clock.after(RETIRED_GRACE_MS, () => this.#giveUpRequests());
  }

  /** Gives everything up without a word: this process ends. */
  close(): void {
    this.#retired = true;
    this.#pruning.cancel();
    this.#nextProbe?.cancel();
    this.#closeIdle();
  }

  /** Calls `action` when it dies; at once, when it is dead by now. Returns the way to forget that. */
  onDown(action: () => void): () => void {
    if (this.#health.state === "down") action();
    this.#onDown.add(action);
    return () => this.#onDown.delete(action);
  }

  // --- connections ---

  /** The idle connection that was used last, unless its worker may be about to close it. */
  takeIdle(): UpstreamConnection | undefined {
    const nowMs = this.#deps.clock.nowMs();
    for (let idle = this.#idle.pop(); idle !== undefined; idle = this.#idle.pop()) {
      if (nowMs < idle.untilMs) {
        this.#busy.add(idle.connection);
        return idle.connection;
      }
      idle.connection.close();
    }
    return undefined;
  }

  /**
   * Gives a connection back after its answer; it is kept when it can be used again. Not when its worker was found
   * unhealthy meanwhile: a response that was on its way says nothing about the next one.
   */
  release(connection: UpstreamConnection): void {
    this.#busy.delete(connection);
    const isWanted =
      !this.#retired && this.#health.state === "healthy" && this.#idle.length < MAX_IDLE;
    const idleMs = Math.min(connection.maxIdleMs, MAX_IDLE_MS);
    if (!connection.isReusable || !isWanted || idleMs <= 0) {
      connection.close();
      return;
    }
    // It may have been paused for a client that took its answer slowly.
    connection.resume();
    this.#idle.push({ connection, untilMs: this.#deps.clock.nowMs() + idleMs });
  }

  /** Opens a connection for one request; `onConnected` or `onUpstreamFailed` follows, never before this returns. */
  dial(handler: ResponseHandler): Dial {
    const { transport, deadlines, connectTimeoutMs } = this.#deps;
    const limit = deadlines.create(() => {
      dial.cancel();
      limit.close();
      handler.onUpstreamFailed(new UpstreamError("connect-timeout"));
    });
    limit.set(connectTimeoutMs);
    const dial = transport.dial(this.#address, {
      onOpen: (connection) => {
        limit.close();
        handler.onConnected(this.#adopt(connection));
      },
      onFail: (error) => {
        limit.close();
        handler.onUpstreamFailed(new UpstreamError("refused", error));
      },
    });
    return {
      cancel() {
        limit.close();
        dial.cancel();
      },
    };
  }

  #adopt(connection: Connection): UpstreamConnection {
    const adopted: UpstreamConnection = new UpstreamConnection(connection, () => {
      this.#busy.delete(adopted);
      const at = this.#idle.findIndex((idle) => idle.connection === adopted);
      if (at >= 0) this.#idle.splice(at, 1);
    });
    this.#busy.add(adopted);
    return adopted;
  }

  #giveUpRequests(): void {
    this.#eachBusy((connection) => connection.giveUp());
  }

  /**
   * Does `action` with all that requests are under way on, a few at a time: each is sent elsewhere then, and hundreds in one
   * moment would keep everybody else waiting for as long as that takes.
   */
  #eachBusy(action: (connection: UpstreamConnection) => void): void {
    const { clock } = this.#deps;
    const left = [...this.#busy];
    const perStep = Math.ceil(left.length / SPREAD_STEPS);
    const next = (): void => {
      for (const connection of left.splice(0, perStep)) {
        if (this.#busy.has(connection)) action(connection);
      }
      if (left.length > 0) clock.after(SPREAD_STEP_MS, next);
    };
    next();
  }

  #closeIdle(): void {
    for (const { connection } of this.#idle.splice(0)) connection.close();
  }

  #prune(): void {
    const nowMs = this.#deps.clock.nowMs();
    for (const idle of this.#idle.filter(({ untilMs }) => untilMs <= nowMs))
      idle.connection.close();
  }

  // --- health ---

  /** A request failed in a way that speaks against the worker itself. */
  reportFailure(error: UpstreamError): void {
    const atMs = this.#deps.clock.nowMs();
    this.#apply({ event: "failed", failure: { reason: reasonOf(error), by: "request", atMs } });
  }

  /** One of its sessions was seen at another worker in a higher epoch. */
  noteTakenOver(): void {
    this.#apply({ event: "taken-over", atMs: this.#deps.clock.nowMs() });
  }

  #apply(event: HealthEvent): void {
    const before = this.#health;
    this.#health = nextHealth(before, event);
    if (this.#health.state !== before.state) this.#changed(before);
    if (this.#health !== before) this.#deps.onHealth();
  }

  #changed(before: Health): void {
    const { log } = this.#deps;
    const health = this.#health;
    const workerId = this.id;
    switch (health.state) {
      case "healthy":
        log.info({ workerId, was: before.state }, "worker is healthy again");
        return;
      case "unhealthy": {
        const { reason, by } = health.lastFailure;
        if (reason === "misrouted") log.error({ workerId }, MISROUTED);
        else log.warn({ workerId, reason, by }, "worker is unhealthy");
        // What stopped may never answer on them, and what lives makes new ones cheaply.
        this.#closeIdle();
        if (!this.#retired) this.#probeAfter(FIRST_PROBE_MS);
        // Another worker could not answer for an owner; without owners any other can.
        if (!this.#deps.isLeased && (reason === "no-response" || reason === "unreachable")) {
          this.#eachBusy((connection) => connection.reportSilent());
        }
        return;
      }
      case "down":
        // A worker that was healthy until then has most likely shut down gracefully.
        if (before.state === "healthy") log.info({ workerId }, "worker is gone");
        else log.warn({ workerId, why: health.why }, "worker is down");
        this.#closeIdle();
        if (health.why === "taken-over") this.#giveUpRequests();
        for (const action of [...this.#onDown]) action();
        return;
    }
  }

  #probeAfter(delayMs: number): void {
    this.#nextProbe?.cancel();
    this.#nextProbe = this.#deps.clock.after(delayMs, () => this.#probeNow());
  }

  #probeNow(): void {
    const { clock, probe, reportBug } = this.#deps;
    const askedMs = clock.nowMs();
    this.#probedMs = askedMs;
    probe
      .ask(this.#record, this.proof)
      .then(
        () => this.#noteWell(askedMs),
        (error: unknown) => this.#noteProbeFailed(error, askedMs),
      )
      .catch(reportBug);
  }

  /** The next question, unless a later one than that of `askedMs` has been asked, which then sees to it. */
  #probeAgain(askedMs: number): void {
    if (askedMs !== this.#probedMs) return;
    this.#probeAfter(Math.max(0, askedMs + PROBE_PERIOD_MS - this.#deps.clock.nowMs()));
  }

  #noteWell(askedMs: number): void {
    if (this.#retired) return;
    this.#probeAgain(askedMs);
    this.#apply({ event: "answered", askedMs });
  }

  #noteProbeFailed(error: unknown, askedMs: number): void {
    if (this.#retired) return;
    this.#probeAgain(askedMs);
    const atMs = this.#deps.clock.nowMs();
    this.#apply({ event: "failed", failure: { reason: reasonOf(error), by: "probe", atMs } });
    if (error instanceof ProofRefusedError && error.incarnation !== undefined) {
      this.#deps.onOtherIncarnation(this.id, error.incarnation);
    }
  }
}

const MISROUTED =
  "worker rejects this balancer: its address now belongs to another worker, its CT_SECRET differs, or its CT_WORKER_URL differs from the address in CT_WORKERS";

/** What a failed request or probe says of the worker. */
function reasonOf(error: unknown): FailureReason {
  if (error instanceof ProofRefusedError) return "misrouted";
  if (error instanceof ProbeError) return "probe-failed";
  if (!(error instanceof UpstreamError)) return reasonOfCode(error);
  switch (error.kind) {
    case "refused":
      return reasonOfCode(error.cause);
    case "connect-timeout":
      return "unreachable";
    case "timeout":
      return "no-response";
    case "closed":
      return "connection-closed";
    case "invalid-response":
      return "invalid-response";
  }
}

/** Of an error of the system or of a probe. Others than a refusal may be our own trouble: descriptors, a route. */
function reasonOfCode(error: unknown): FailureReason {
  if (error instanceof Error && error.name === "TimeoutError") return "no-response";
  const code = errorCode(error);
  if (code === "ECONNREFUSED") return "refused";
  if (code === "ECONNRESET" || code === "EPIPE") return "connection-closed";
  return "unreachable";
}

interface Idle {
  readonly connection: UpstreamConnection;
  /** Used again only before this time. */
  readonly untilMs: number;
}

/** The host and port of a record's `http://host:port`. */
function parseAddress(url: string): Address {
  const { hostname, port } = new URL(url);
  const host = hostname.startsWith("[") ? hostname.slice(1, -1) : hostname;
  return { host, port: port === "" ? 80 : Number(port) };
}
