/**
 * One worker as the balancer sees it: its address (which comes from membership only), health, load, links, and pooled
 * connections.
 */
import type { Clock, Timer } from "../../shared/base/clock.ts";
import { errorCode } from "../../shared/base/errors.ts";
import type { Incarnation, WorkerId } from "../../shared/base/ids.ts";
import type { LinkStream } from "../../shared/link/stream.ts";
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
import type { WorkerLinks } from "./worker-links.ts";

/** Idle connections pooled per worker, and as many idle streams of links. */
const MAX_IDLE = 256;
/**
 * Maximum idle time of a pooled connection. Below the workers' own 70 s, so that a request rarely races with the worker's
 * close. A shorter `Keep-Alive: timeout=` takes precedence.
 */
const MAX_IDLE_MS = 60_000;
/** Time from one probe of a worker to the next. */
const PROBE_PERIOD_MS = 1000;
/** Delay of the first probe after a failure. */
const FIRST_PROBE_MS = 200;
/** How long a worker that has removed its record may finish its responses; requests in flight then fail. */
const RETIRED_GRACE_MS = 1000;

/** The requests that wait for a worker that is unresponsive or down are rerouted over 200 ms, in this many steps. */
const SPREAD_STEPS = 100;
const SPREAD_STEP_MS = 2;

export interface UpstreamDeps {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly log: Log;
  readonly deadlines: Deadlines;
  readonly connectTimeoutMs: number;
  /** Maximum concurrent requests per worker. */
  readonly maxRequestsPerWorker: number;
  /** Makes `x-ct-edge`; undefined without a secret. */
  readonly prove: (record: WorkerRecord) => string | undefined;
  readonly probe: Probe;
  /** Whether a lease determines how long an unresponsive worker still owns its sessions. */
  readonly isLeased: boolean;
  readonly reportBug: BugReport;
  /** Opens the links to a worker. */
  readonly linksTo: (record: WorkerRecord, address: Address) => WorkerLinks;
  /** Called after each health change. */
  readonly onHealth: () => void;
  /** Called when a worker has proved, in its response to a probe, that it is another incarnation than its record says. */
  readonly onOtherIncarnation: (id: WorkerId, incarnation: Incarnation) => void;
}

export class Upstream {
  readonly id: WorkerId;
  /** `x-ct-edge` for this incarnation; undefined without a secret. */
  readonly proof: string | undefined;
  /** `host:port`. */
  readonly host: string;
  readonly links: WorkerLinks;
  readonly #address: Address;
  readonly #deps: UpstreamDeps;
  readonly #idle: UpstreamConnection[] = [];
  readonly #idleStreams: UpstreamConnection[] = [];
  readonly #pruning: Timer;
  /** All that are open and not a tunnel's. */
  readonly #connections = new Set<UpstreamConnection>();
  readonly #onDown = new Set<() => void>();
  #record: WorkerRecord;
  #health: Health = HEALTHY;
  /** When the last probe was sent. */
  #probedMs = 0;
  #nextProbe: Timer | undefined;
  #retired = false;
  /** Requests and tunnels in flight. */
  inFlight = 0;
  /** Requests in flight, without tunnels. */
  requests = 0;
  /** Keyless creates sent since the worker last reported its session count. */
  #sentCreates = 0;

  constructor(record: WorkerRecord, deps: UpstreamDeps) {
    this.#deps = deps;
    this.#record = record;
    this.id = record.id;
    this.proof = deps.prove(record);
    this.#address = parseAddress(record.url);
    this.host = new URL(record.url).host;
    this.links = deps.linksTo(record, this.#address);
    this.#pruning = deps.clock.every(MAX_IDLE_MS / 4, () => this.#prune());
    this.#probeAfter(0);
  }

  /** Probes at once: a probe also tells the worker the state of the store, which has just changed. */
  probeSoon(): void {
    if (!this.#retired) this.#probeAfter(0);
  }

  get record(): WorkerRecord {
    return this.#record;
  }

  /** Derived from its failures and responses; the router decides what it means for routing. */
  get health(): Health {
    return this.#health;
  }

  /** Whether it is at its request limit: another request is refused, never queued. */
  get isFull(): boolean {
    return this.isBusyFor(1);
  }

  /** Whether it has this part of the requests that it may have. Parts below 1 leave room for others, but with a limit of 1. */
  isBusyFor(part: number): boolean {
    const allowed = part * this.#deps.maxRequestsPerWorker;
    return this.requests >= (part < 1 ? Math.max(1, Math.floor(allowed)) : allowed);
  }

  /** Sessions, including creates in flight. */
  get sessions(): number {
    return this.#record.load.sessions + this.#sentCreates;
  }

  noteCreate(): void {
    this.#sentCreates++;
  }

  /** Takes the record of a new heartbeat; incarnation and address are the same. */
  update(record: WorkerRecord): void {
    if (record.load !== this.#record.load) this.#sentCreates = 0;
    this.#record = record;
  }

  /**
   * Whether `record` has the same incarnation, address and links. Its status address may change: while the store is away, the
   * first record of a restarted worker still has the former one.
   */
  isSame(record: WorkerRecord): boolean {
    return (
      record.incarnation === this.#record.incarnation &&
      record.linkVersion === this.#record.linkVersion &&
      record.url === this.#record.url
    );
  }

  /**
   * Its lease has expired or another incarnation has started: probing stops and tunnels end. Requests in flight may finish
   * within `RETIRED_GRACE_MS`.
   */
  retire(): void {
    this.#retired = true;
    this.#pruning.cancel();
    this.#nextProbe?.cancel();
    this.links.retire();
    this.#apply({ event: "lease-expired", atMs: this.#deps.clock.nowMs() });
    this.#deps.clock.after(RETIRED_GRACE_MS, () => this.#failRequests());
  }

  /** Stops timers and closes idle connections: this process ends. */
  close(): void {
    this.#retired = true;
    this.#pruning.cancel();
    this.#nextProbe?.cancel();
    this.#closeIdle();
    this.links.close();
  }

  /** Calls `action` when the worker goes down, at once if it is down. Returns the unsubscribe function. */
  onDown(action: () => void): () => void {
    if (this.#health.state === "down") action();
    this.#onDown.add(action);
    return () => this.#onDown.delete(action);
  }

  // --- connections ---

  /** The most recently used idle connection that its worker is not about to close. `mayUseLink`: see link-policy.ts. */
  takeIdle(mayUseLink: boolean): UpstreamConnection | undefined {
    const nowMs = this.#deps.clock.nowMs();
    const pool = mayUseLink && this.links.state === "open" ? this.#idleStreams : this.#idle;
    for (let idle = pool.pop(); idle !== undefined; idle = pool.pop()) {
      if (nowMs < idle.idleUntilMs) return idle;
      idle.close();
    }
    return undefined;
  }

  /**
   * Returns a connection to the pool, if it is reusable. Not while its worker is unhealthy: a response that was already on
   * its way says nothing about the next one.
   */
  release(connection: UpstreamConnection): void {
    const pool = connection.isStream ? this.#idleStreams : this.#idle;
    const mayPool = !this.#retired && this.#health.state === "healthy" && pool.length < MAX_IDLE;
    const idleMs = Math.min(connection.maxIdleMs, MAX_IDLE_MS);
    if (!connection.isReusable || !mayPool || idleMs <= 0) {
      connection.close();
      return;
    }
    // It may have been paused for a client that read its response slowly.
    connection.resume();
    connection.idleUntilMs = this.#deps.clock.nowMs() + idleMs;
    pool.push(connection);
  }

  /** Opens a connection for one request; `onConnected` or `onUpstreamFailed` follows, never before this returns. */
  dial(handler: ResponseHandler, mayUseLink: boolean): Dial {
    const stream = mayUseLink ? this.links.open() : undefined;
    return stream === undefined ? this.#connect(handler) : this.#useStream(stream, handler);
  }

  #useStream(stream: LinkStream, handler: ResponseHandler): Dial {
    let isCancelled = false;
    queueMicrotask(() => {
      if (isCancelled) return;
      try {
        handler.onConnected(this.#adopt(stream, true));
      } catch (error) {
        this.#deps.reportBug(error);
        stream.reset();
      }
    });
    return {
      cancel() {
        isCancelled = true;
        stream.destroy();
      },
    };
  }

  #connect(handler: ResponseHandler): Dial {
    const { transport, deadlines, connectTimeoutMs } = this.#deps;
    const deadline = deadlines.create(() => {
      dial.cancel();
      deadline.close();
      handler.onUpstreamFailed(new UpstreamError("connect-timeout"));
    });
    deadline.set(connectTimeoutMs);
    const dial = transport.dial(this.#address, {
      onOpen: (connection) => {
        deadline.close();
        handler.onConnected(this.#adopt(connection, false));
      },
      onFail: (error) => {
        deadline.close();
        handler.onUpstreamFailed(new UpstreamError("refused", error));
      },
    });
    return {
      cancel() {
        deadline.close();
        dial.cancel();
      },
    };
  }

  #adopt(connection: Connection, isStream: boolean): UpstreamConnection {
    const pool = isStream ? this.#idleStreams : this.#idle;
    const adopted: UpstreamConnection = new UpstreamConnection(connection, isStream, () => {
      this.#connections.delete(adopted);
      const index = pool.indexOf(adopted);
      if (index >= 0) pool.splice(index, 1);
    });
    this.#connections.add(adopted);
    return adopted;
  }

  #failRequests(): void {
    this.#eachBusy((connection) => connection.fail());
  }

  /**
   * Calls `action` for each connection with a request in flight, a few at a time: each request is then rerouted, and
   * hundreds at once would block the event loop for all others.
   */
  #eachBusy(action: (connection: UpstreamConnection) => void): void {
    const { clock } = this.#deps;
    const left = [...this.#connections].filter(({ isBusy }) => isBusy);
    const perStep = Math.ceil(left.length / SPREAD_STEPS);
    const next = (): void => {
      for (const connection of left.splice(0, perStep)) {
        if (connection.isBusy) action(connection);
      }
      if (left.length > 0) clock.after(SPREAD_STEP_MS, next);
    };
    next();
  }

  #closeIdle(): void {
    for (const pool of [this.#idle, this.#idleStreams]) {
      for (const connection of pool.splice(0)) connection.close();
    }
  }

  #prune(): void {
    const nowMs = this.#deps.clock.nowMs();
    const isExpired = ({ idleUntilMs }: UpstreamConnection): boolean => idleUntilMs <= nowMs;
    for (const pool of [this.#idle, this.#idleStreams]) {
      for (const connection of pool.filter(isExpired)) connection.close();
    }
  }

  // --- health ---

  /** A request failed for a reason that lies with the worker. */
  reportFailure(error: UpstreamError): void {
    const atMs = this.#deps.clock.nowMs();
    this.#apply({ event: "failed", failure: { reason: reasonOf(error), by: "request", atMs } });
  }

  /** Another worker has reported one of its sessions with a higher epoch. */
  noteTakenOver(): void {
    this.#apply({ event: "taken-over", atMs: this.#deps.clock.nowMs() });
  }

  #apply(event: HealthEvent): void {
    const before = this.#health;
    this.#health = nextHealth(before, event);
    if (this.#health.state !== before.state) this.#onStateChange(before);
    if (this.#health !== before) this.#deps.onHealth();
  }

  #onStateChange(before: Health): void {
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
        // A stopped worker may never respond on them; a healthy one accepts new connections cheaply.
        this.#closeIdle();
        if (!this.#retired) this.#probeAfter(FIRST_PROBE_MS);
        // With leases only the owner can respond; without them any other worker can.
        if (!this.#deps.isLeased && (reason === "no-response" || reason === "unreachable")) {
          this.#eachBusy((connection) => connection.reportSilent());
        }
        return;
      }
      case "down":
        // A worker that was healthy until then has most likely shut down gracefully.
        if (before.state === "healthy") log.info({ workerId }, "worker has left");
        else log.warn({ workerId, why: health.why }, "worker is down");
        this.#closeIdle();
        if (health.why === "taken-over") this.#failRequests();
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
    const probedMs = clock.nowMs();
    this.#probedMs = probedMs;
    probe
      .ask(this.#record, this.proof)
      .then(
        () => this.#onProbeSucceeded(probedMs),
        (error: unknown) => this.#onProbeFailed(error, probedMs),
      )
      .catch(reportBug);
  }

  /** Schedules the next probe, unless a probe later than `probedMs` has been sent, which then does so. */
  #probeAgain(probedMs: number): void {
    if (probedMs !== this.#probedMs) return;
    this.#probeAfter(Math.max(0, probedMs + PROBE_PERIOD_MS - this.#deps.clock.nowMs()));
  }

  #onProbeSucceeded(probedMs: number): void {
    if (this.#retired) return;
    this.#probeAgain(probedMs);
    this.#apply({ event: "answered", askedMs: probedMs });
  }

  #onProbeFailed(error: unknown, probedMs: number): void {
    if (this.#retired) return;
    this.#probeAgain(probedMs);
    const atMs = this.#deps.clock.nowMs();
    this.#apply({ event: "failed", failure: { reason: reasonOf(error), by: "probe", atMs } });
    if (error instanceof ProofRefusedError && error.incarnation !== undefined) {
      this.#deps.onOtherIncarnation(this.id, error.incarnation);
    }
  }
}

const MISROUTED =
  "worker rejects this balancer: its address now belongs to another worker, its CT_SECRET differs, or its CT_WORKER_URL differs from the address in CT_WORKERS";

/** The failure reason that a failed request or probe stands for. */
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

/** For system and probe errors. Codes other than these may be caused on this side: no descriptors, no route. */
function reasonOfCode(error: unknown): FailureReason {
  if (error instanceof Error && error.name === "TimeoutError") return "no-response";
  const code = errorCode(error);
  if (code === "ECONNREFUSED") return "refused";
  if (code === "ECONNRESET" || code === "EPIPE") return "connection-closed";
  return "unreachable";
}

/** The host and port of a record's `http://host:port`. */
function parseAddress(url: string): Address {
  const { hostname, port } = new URL(url);
  const host = hostname.startsWith("[") ? hostname.slice(1, -1) : hostname;
  return { host, port: port === "" ? 80 : Number(port) };
}
