/**
 * One worker as the balancer sees it: its address (only ever from membership), whether it is well, how busy it is, and
 * the connections that are kept to it.
 */
import type { Clock, Timer } from "../shared/clock.ts";
import { describeError, errorCode } from "../shared/errors.ts";
import type { WorkerId } from "../shared/ids.ts";
import type { Log } from "../shared/log.ts";
import type { WorkerRecord } from "../shared/membership/member.ts";
import type { Deadlines } from "./deadlines.ts";
import { type Probe, ProofRefusedError } from "./probe.ts";
import type { Address, BugReport, Connection, Dial, Transport } from "./transport/transport.ts";
import { UpstreamConnection, UpstreamError } from "./upstream-connection.ts";

/** Idle connections kept to one worker. */
const MAX_IDLE = 256;
/** How long one is kept: less than the 70 s of our workers, so that a request hardly ever meets the end of it. */
const MAX_IDLE_MS = 60_000;
/** Each worker is asked so often, from question to question. */
const PROBE_PERIOD_MS = 1000;
/** First look at a worker that failed. */
const FIRST_PROBE_MS = 200;

export interface UpstreamNeeds {
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
  readonly reportBug: BugReport;
}

/** What came of asking for a connection. */
export interface Lease {
  onConnection(connection: UpstreamConnection): void;
  onFailed(error: UpstreamError): void;
}

export class Upstream {
  readonly id: WorkerId;
  /** `x-ct-edge` for this incarnation; undefined without a secret. */
  readonly proof: string | undefined;
  /** `host:port`. */
  readonly host: string;
  readonly #address: Address;
  readonly #needs: UpstreamNeeds;
  readonly #idle: Idle[] = [];
  readonly #pruning: Timer;
  readonly #onRetired = new Set<() => void>();
  #record: WorkerRecord;
  #suspect = false;
  #suspectSinceMs = 0;
  /** When the last probe was sent. */
  #askedMs = 0;
  #nextProbe: Timer | undefined;
  #wasProofRefused = false;
  #retired = false;
  /** Requests and tunnels that are under way. */
  inFlight = 0;
  /** Requests that are under way: those of `inFlight` that are no tunnels. */
  requests = 0;
  /** Keyless creates sent since the worker last said how many sessions it has. */
  #sentCreates = 0;

  constructor(record: WorkerRecord, needs: UpstreamNeeds) {
    this.#needs = needs;
    this.#record = record;
    this.id = record.id;
    this.proof = needs.prove(record);
    this.#address = parseAddress(record.url);
    this.host = new URL(record.url).host;
    this.#pruning = needs.clock.every(MAX_IDLE_MS / 4, () => this.#prune());
    this.#probeAfter(0);
  }

  get record(): WorkerRecord {
    return this.#record;
  }

  /** Whether it failed lately: it gets nothing new until it answers a probe. */
  get isSuspect(): boolean {
    return this.#suspect;
  }

  /** Whether it has as many requests as it may have: one more is refused, never kept waiting. */
  get isFull(): boolean {
    return this.requests >= this.#needs.maxRequestsPerWorker;
  }

  /** Whether it takes new sessions. */
  get takesNew(): boolean {
    return this.#record.state === "up" && !this.#suspect;
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

  /** It is gone or replaced: kept connections and tunnels end, requests under way may finish. */
  retire(): void {
    this.#retired = true;
    this.#pruning.cancel();
    this.#nextProbe?.cancel();
    for (const idle of this.#idle.splice(0)) idle.connection.close();
    for (const action of [...this.#onRetired]) action();
    this.#onRetired.clear();
  }

  /** Calls `action` when it is retired. Returns the way to forget that. */
  onRetired(action: () => void): () => void {
    this.#onRetired.add(action);
    return () => this.#onRetired.delete(action);
  }

  // --- connections ---

  /**
   * A connection for one request: a kept one at once (before this returns), unless `fresh`, else a new one. Returns the
   * way to give up waiting.
   */
  acquire(lease: Lease, fresh: boolean): Dial {
    const kept = fresh ? undefined : this.#idle.pop();
    if (kept !== undefined) {
      lease.onConnection(kept.connection);
      return { cancel() {} };
    }
    return this.#dial(lease);
  }

  /** Gives a connection back after its answer; it is kept when it can be used again. */
  release(connection: UpstreamConnection): void {
    if (!connection.isReusable || this.#retired || this.#idle.length >= MAX_IDLE) {
      connection.close();
      return;
    }
    // It may have been paused for a client that took its answer slowly.
    connection.resume();
    this.#idle.push({ connection, sinceMs: this.#needs.clock.nowMs() });
  }

  #dial(lease: Lease): Dial {
    const { transport, deadlines, connectTimeoutMs } = this.#needs;
    const limit = deadlines.create(() => {
      dial.cancel();
      limit.close();
      lease.onFailed(new UpstreamError("connect-timeout"));
    });
    limit.set(connectTimeoutMs);
    const dial = transport.dial(this.#address, {
      onOpen: (connection) => {
        limit.close();
        lease.onConnection(this.#adopt(connection));
      },
      onFail: (error) => {
        limit.close();
        lease.onFailed(new UpstreamError("refused", error));
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
      const at = this.#idle.findIndex((idle) => idle.connection === adopted);
      if (at >= 0) this.#idle.splice(at, 1);
    });
    return adopted;
  }

  #prune(): void {
    const oldest = this.#needs.clock.nowMs() - MAX_IDLE_MS;
    // The last one in is the first one out, so the oldest stand in front.
    while (this.#idle[0] !== undefined && this.#idle[0].sinceMs < oldest) {
      this.#idle.shift()?.connection.close();
    }
  }

  // --- health ---

  /** A request failed in a way that speaks against the worker itself. Until it answers a probe it gets nothing new. */
  suspect(error: UpstreamError): void {
    if (this.#suspect || this.#retired) return;
    this.#suspect = true;
    this.#suspectSinceMs = this.#needs.clock.nowMs();
    this.#needs.log.warn(
      { workerId: this.id, kind: error.kind, cause: errorCode(error.cause) },
      "a worker is suspect",
    );
    this.#probeAfter(FIRST_PROBE_MS);
  }

  #probeAfter(delayMs: number): void {
    this.#nextProbe?.cancel();
    this.#nextProbe = this.#needs.clock.after(delayMs, () => this.#askNow());
  }

  #askNow(): void {
    const { clock, probe, reportBug } = this.#needs;
    const askedMs = clock.nowMs();
    this.#askedMs = askedMs;
    probe
      .ask(this.#record, this.proof)
      .then(
        () => this.#noteWell(askedMs),
        (error: unknown) => this.#noteUnwell(error, askedMs),
      )
      .catch(reportBug);
  }

  /** The next question, unless a later one than that of `askedMs` has been asked, which then sees to it. */
  #probeAgain(askedMs: number): void {
    if (askedMs !== this.#askedMs) return;
    this.#probeAfter(Math.max(0, askedMs + PROBE_PERIOD_MS - this.#needs.clock.nowMs()));
  }

  #noteWell(askedMs: number): void {
    if (this.#retired) return;
    this.#probeAgain(askedMs);
    this.#wasProofRefused = false;
    // An answer to what was asked before it failed says nothing about after.
    if (!this.#suspect || askedMs < this.#suspectSinceMs) return;
    this.#suspect = false;
    this.#needs.log.info({ workerId: this.id }, "a suspect worker answers again");
  }

  #noteUnwell(error: unknown, askedMs: number): void {
    if (this.#retired) return;
    this.#probeAgain(askedMs);
    const { log } = this.#needs;
    const fields = { workerId: this.id, cause: describeError(error) };
    if (error instanceof ProofRefusedError && !this.#wasProofRefused) {
      this.#wasProofRefused = true;
      log.error(fields, "a worker refuses this balancer");
    } else if (this.#suspect) log.debug(fields, "a suspect worker does not answer");
    else log.warn(fields, "a worker is suspect");
    if (!this.#suspect) this.#suspectSinceMs = this.#needs.clock.nowMs();
    this.#suspect = true;
  }
}

interface Idle {
  readonly connection: UpstreamConnection;
  readonly sinceMs: number;
}

/** The host and port of a record's `http://host:port`. */
function parseAddress(url: string): Address {
  const { hostname, port } = new URL(url);
  const host = hostname.startsWith("[") ? hostname.slice(1, -1) : hostname;
  return { host, port: port === "" ? 80 : Number(port) };
}
