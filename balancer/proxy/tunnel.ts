/**
 * One upgraded connection: a client on one side, a worker on the other. Bytes are copied. A WebSocket that its worker can hand
 * over (shared/resume/frames.ts) stays open when that worker has gone or gives it away: what its client sends is kept until a
 * worker has relayed it, and another worker goes on (resume-request.ts).
 */
import type { Clock } from "../../shared/base/clock.ts";
import type { SessionKey } from "../../shared/base/ids.ts";
import { LinkLostError } from "../../shared/link/stream.ts";
import { MAX_KEPT_BYTES } from "../../shared/resume/frames.ts";
import type { DetachedConnection } from "../downstream/exchange-contract.ts";
import {
  type Connection,
  type ConnectionHandler,
  discard,
  type Piece,
} from "../transport/transport.ts";
import type { Upstream } from "../upstreams/upstream.ts";
import { ClientLog } from "../websocket/client-log.ts";
import { WorkerOutput } from "../websocket/worker-output.ts";

/** The session that a worker has marked a connection with. */
export interface TunnelSession {
  readonly id: SessionKey;
  readonly epoch: number;
}

export interface TunnelOptions {
  readonly client: DetachedConnection;
  readonly worker: Connection;
  readonly upstream: Upstream;
  /** Of the request that opened it. */
  readonly requestId: string;
  readonly session: TunnelSession | undefined;
  /** Whether the worker hands it over when it can. */
  readonly isResumable: boolean;
}

/** `crash`: its worker has gone, or has lost the session. `move`: the worker has given the session away. */
export type ResumeCause = "crash" | "move";

/** Why a WebSocket was closed and not resumed. */
export type Unresumable =
  /** Its worker has handed out no ticket, or withdrawn it. */
  | "no ticket"
  /** The client has sent more than is kept. */
  | "unconfirmed bytes"
  /** The client has a part of a message. */
  | "half a message"
  /** The client does not read what its worker sent before it went. */
  | "slow client"
  | "too many";

export interface TunnelEvents {
  /** The worker's side is gone, for a reason that a resumption is for. */
  workerLost(tunnel: Tunnel, cause: ResumeCause): void;
  /** Its worker has told its session. */
  identified(tunnel: Tunnel): void;
  /** Its client had a message already when it was delivered again. */
  repeated(): void;
  /** Both sides are closed. */
  over(tunnel: Tunnel): void;
}

/** Time for both sides to close after our FIN. */
const END_MS = 2000;

export class Tunnel {
  readonly requestId: string;
  /** Whether its worker has been asked to migrate its client. */
  isMigrating = false;
  upstream: Upstream;
  session: TunnelSession | undefined;
  /** With it another worker resumes the WebSocket. */
  ticket: string | undefined;
  /** What the client has sent; undefined when the WebSocket cannot be resumed. */
  readonly log: ClientLog | undefined;
  readonly #output: WorkerOutput | undefined;
  readonly #client: Connection;
  readonly #events: TunnelEvents;
  readonly #onServed: (bodyBytes: number) => void;
  /** Undefined while it waits for another worker. */
  #worker: Connection | undefined;
  #hasClientEnded = false;
  #isClientClosed = false;
  #isOver = false;
  #bytesToClient = 0;
  #reported = false;
  #isEnding = false;
  /** Because the client takes nothing: the worker may have sent more. */
  isWorkerPaused = false;
  /** Messages that the worker has handled when it has given its session away. */
  #movedAfter: number | undefined;

  constructor(options: TunnelOptions, events: TunnelEvents) {
    const { connection: client, onServed } = options.client;
    this.#client = client;
    this.#onServed = onServed;
    this.#events = events;
    this.upstream = options.upstream;
    this.requestId = options.requestId;
    this.session = options.session;
    if (options.isResumable) {
      this.log = new ClientLog();
      this.#output = new WorkerOutput({
        confirmed: (messages) => this.log?.confirm(messages),
        ticketCame: ({ session, epoch, ticket }) => {
          this.ticket = ticket;
          this.session = { id: session, epoch };
          events.identified(this);
        },
        moved: (messages) => {
          this.#movedAfter = messages;
        },
        repeated: () => events.repeated(),
      });
    }
    client.handler = new ClientHalf(this);
    this.#attach(options.worker);
  }

  #attach(worker: Connection): void {
    this.#worker = worker;
    this.isWorkerPaused = false;
    worker.handler = new WorkerHalf(this, worker);
  }

  /** Sends what both sides have sent so far. */
  begin(head: string, rest: Buffer, client: DetachedConnection): void {
    const parts = this.#forClient(rest);
    const first: Piece[] = [head, ...parts];
    // It may stay open for days and never write again.
    this.#client.setOptions();
    if (!this.#client.write(first)) this.#pauseWorker(this.#worker);
    this.log?.push(client.early);
    const more = client.early.length === 0 || this.#worker?.write([client.early]) === true;
    if (client.ended) this.onClientEnd();
    // The connection may be paused because much was buffered.
    if (more) this.#client.resume();
    else this.#client.pause();
    if (this.#movedAfter !== undefined) this.#events.workerLost(this, "move");
  }

  /** Sends FIN to both sides, and closes what is still open some time later. */
  end(clock: Clock): void {
    this.endAtClient(clock);
    this.#worker?.end();
  }

  /**
   * Sends FIN to the client. What it sends until it notices is still relayed: the worker's side ends with the client's, or
   * some time later.
   */
  endAtClient(clock: Clock): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    this.#client.end();
    this.#client.resume();
    this.#resumeWorker();
    clock.after(END_MS, () => {
      this.#client.destroy();
      this.#worker?.destroy();
    });
  }

  /** Writes its access log entry, once. */
  report(): void {
    if (this.#reported) return;
    this.#reported = true;
    this.#onServed(this.#bytesToClient);
  }

  // --- resuming ---

  /** Why it cannot be resumed on another worker; undefined when it can. */
  get obstacle(): Unresumable | undefined {
    if (this.log === undefined || this.#output === undefined) return "no ticket";
    if (this.ticket === undefined || this.session === undefined) return "no ticket";
    if (this.#output.isClosed || this.#isEnding) return "no ticket";
    if (!this.log.isComplete) return "unconfirmed bytes";
    return this.#output.isInMessage ? "half a message" : undefined;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Unconfirmed messages of the client that its worker may have relayed. */
  get repeated(): number {
    if (this.log === undefined) return 0;
    const handled = this.#movedAfter;
    if (handled === undefined) return this.log.messages;
    return Math.min(this.log.messages, Math.max(0, (handled - this.log.confirmed) | 0));
  }

  /** Drops the worker's side; the client's stays. */
  detachWorker(): void {
    const worker = this.#worker;
    this.#worker = undefined;
    this.#output?.restart();
    if (worker !== undefined) discard(worker);
  }

  /** Another worker goes on. Follow with `readRest`. */
  resumeWith(next: Pick<TunnelOptions, "worker" | "upstream" | "session">): void {
    this.#movedAfter = undefined;
    this.upstream = next.upstream;
    this.session = next.session;
    this.#attach(next.worker);
    const unconfirmed = this.log?.unconfirmed() ?? [];
    const hasRoom = unconfirmed.length === 0 || next.worker.write(unconfirmed);
    if (this.#hasClientEnded) next.worker.end();
    if (hasRoom) this.#client.resume();
    else this.#client.pause();
  }

  /** What that worker has sent already, if it has not gone in the meantime. */
  readRest(rest: Buffer): void {
    if (rest.length > 0 && this.#worker !== undefined) this.relayToClient(rest, this.#worker);
  }

  // --- relaying ---

  relayToWorker(bytes: Buffer): void {
    const worker = this.#worker;
    this.log?.push(bytes, worker === undefined);
    if (worker === undefined) {
      if ((this.log?.bytes ?? 0) >= MAX_KEPT_BYTES / 2) this.#client.pause();
    } else if (!worker.write([bytes])) {
      this.#client.pause();
    }
  }

  relayToClient(bytes: Buffer, worker: Connection): void {
    const parts = this.#forClient(bytes);
    // After the FIN the client gets nothing more, but a paused worker's side could not end.
    if (parts.length > 0 && !this.#client.write(parts) && !this.#isEnding) {
      this.#pauseWorker(worker);
    }
    if (this.#movedAfter !== undefined) this.#events.workerLost(this, "move");
  }

  #pauseWorker(worker: Connection | undefined): void {
    this.isWorkerPaused = true;
    worker?.pause();
  }

  #resumeWorker(): void {
    this.isWorkerPaused = false;
    this.#worker?.resume();
  }

  #forClient(bytes: Buffer): readonly Buffer[] {
    if (this.#output === undefined) {
      this.#bytesToClient += bytes.length;
      return bytes.length > 0 ? [bytes] : [];
    }
    const parts = this.#output.read(bytes);
    for (const part of parts) this.#bytesToClient += part.length;
    return parts;
  }

  onClientEnd(): void {
    this.#hasClientEnded = true;
    this.#worker?.end();
  }

  onClientDrain(): void {
    this.#resumeWorker();
  }

  onClientClosed(error: Error | undefined): void {
    this.#isClientClosed = true;
    if (error === undefined) this.#worker?.end();
    else this.#worker?.reset();
    this.#checkOver();
  }

  onWorkerEnd(): void {
    this.#client.end();
  }

  onWorkerDrain(): void {
    this.#client.resume();
  }

  onWorkerClosed(error: Error | undefined): void {
    this.#worker = undefined;
    if (error instanceof LinkLostError && this.log !== undefined && !this.#isClientClosed) {
      this.#events.workerLost(this, "crash");
      return;
    }
    if (error === undefined) this.#client.end();
    else this.#client.reset();
    this.#checkOver();
  }

  /** It is over when both sides are; one that waits for another worker has none. */
  #checkOver(): void {
    if (!this.#isClientClosed || this.#worker !== undefined || this.#isOver) return;
    this.#isOver = true;
    this.report();
    this.#events.over(this);
  }
}

class ClientHalf implements ConnectionHandler {
  readonly #tunnel: Tunnel;

  constructor(tunnel: Tunnel) {
    this.#tunnel = tunnel;
  }

  onData(bytes: Buffer): void {
    this.#tunnel.relayToWorker(bytes);
  }

  onEnd(): void {
    this.#tunnel.onClientEnd();
  }

  onDrain(): void {
    this.#tunnel.onClientDrain();
  }

  onClose(error: Error | undefined): void {
    this.#tunnel.onClientClosed(error);
  }
}

class WorkerHalf implements ConnectionHandler {
  readonly #tunnel: Tunnel;
  readonly #connection: Connection;

  constructor(tunnel: Tunnel, connection: Connection) {
    this.#tunnel = tunnel;
    this.#connection = connection;
  }

  onData(bytes: Buffer): void {
    this.#tunnel.relayToClient(bytes, this.#connection);
  }

  onEnd(): void {
    this.#tunnel.onWorkerEnd();
  }

  onDrain(): void {
    this.#tunnel.onWorkerDrain();
  }

  onClose(error: Error | undefined): void {
    this.#tunnel.onWorkerClosed(error);
  }
}
