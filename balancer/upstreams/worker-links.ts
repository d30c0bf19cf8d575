/**
 * The links of this balancer to one incarnation of a worker: opened ahead of the first request, more of them with more
 * streams, and again after they broke. While there is none, requests take plain connections.
 */
import { type Backoff, backoffMs, HALF_RANDOM } from "../../shared/base/backoff.ts";
import type { Clock, Timer } from "../../shared/base/clock.ts";
import { errorCode } from "../../shared/base/errors.ts";
import { BEAT_MS, Link, type Wire } from "../../shared/link/link.ts";
import { type LinkCounts, newLinkCounts } from "../../shared/link/link-counts.ts";
import type { Chunk, LinkStream } from "../../shared/link/stream.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { BugReport, Connection, Dial, Transport } from "../transport/transport.ts";
import { LinkHandshake, LinkRefusedError } from "./link-handshake.ts";
import type { LinkTarget } from "./link-target.ts";

/** As `explain` and the views name it. */
export type LinkState =
  | "open"
  /** Being opened, or waiting to be opened again. */
  | "connecting"
  /** The worker has none: it is of an earlier version or of a fixed list, or has CT_LINK=off. */
  | "unsupported"
  /** CT_LINK=off here. */
  | "off";

export interface WorkerLinks {
  readonly state: LinkState;
  /** Open links and streams. */
  readonly links: number;
  readonly streams: number;
  readonly counts: Readonly<LinkCounts>;
  /** Whether none is open and none will be. */
  readonly isOver: boolean;
  /** Opens a stream on the least used link; undefined when there is none. */
  open(): LinkStream | undefined;
  /** Opens no more links; those that are open end with their last stream. */
  retire(): void;
  /** Ends all of them. */
  close(): void;
}

export interface WorkerLinksDeps {
  readonly transport: Pick<Transport, "dial">;
  readonly clock: Clock;
  readonly log: Log;
  readonly reportBug: BugReport;
  /** 0 to below 1. */
  readonly random: () => number;
}

export const MAX_LINKS = 4;
/** With more streams than this per link another one is opened. */
const STREAMS_PER_LINK = 256;
/** From the dial to the worker's response. */
const OPEN_TIMEOUT_MS = 3000;
const RETRY: Backoff = { firstMs: 250, maxMs: 15_000, jitter: HALF_RANDOM };

/** No link to this worker, ever. */
export function noLinks(state: "unsupported" | "off"): WorkerLinks {
  return {
    state,
    links: 0,
    streams: 0,
    counts: newLinkCounts(),
    isOver: true,
    open: () => undefined,
    retire() {},
    close() {},
  };
}

export function openLinks(target: LinkTarget, deps: WorkerLinksDeps): WorkerLinks {
  return new OpenedLinks(target, deps);
}

class OpenedLinks implements WorkerLinks {
  readonly counts = newLinkCounts();
  readonly #target: LinkTarget;
  readonly #deps: WorkerLinksDeps;
  #links: readonly Link[] = [];
  /** The attempt to open one. */
  #attempt: { cancel(): void } | undefined;
  #failures = 0;
  #mayOpen = true;
  #isUnsupported = false;
  readonly #beats: Timer;

  constructor(target: LinkTarget, deps: WorkerLinksDeps) {
    this.#target = target;
    this.#deps = deps;
    this.#beats = deps.clock.every(BEAT_MS, () => {
      // One that breaks right after it was opened is a failure too.
      if (this.#links.length > 0) this.#failures = 0;
      for (const link of this.#links) link.beat();
    });
    this.#connect();
  }

  get state(): LinkState {
    if (this.#links.length > 0) return "open";
    return this.#isUnsupported ? "unsupported" : "connecting";
  }

  get links(): number {
    return this.#links.length;
  }

  get isOver(): boolean {
    return !this.#mayOpen && this.#links.length === 0;
  }

  get streams(): number {
    let sum = 0;
    for (const link of this.#links) sum += link.size;
    return sum;
  }

  open(): LinkStream | undefined {
    let best: Link | undefined;
    for (const link of this.#links) {
      if (link.hasRoom && (best === undefined || link.size < best.size)) best = link;
    }
    if (best === undefined) return undefined;
    const isCrowded = best.size >= STREAMS_PER_LINK && this.#links.length < MAX_LINKS;
    if (isCrowded && this.#attempt === undefined) this.#connect();
    return best.open();
  }

  retire(): void {
    this.#stopOpening();
    for (const link of this.#links) this.#closeIfIdle(link);
  }

  close(): void {
    this.#stopOpening();
    for (const link of this.#links) link.close();
  }

  #stopOpening(): void {
    this.#mayOpen = false;
    this.#attempt?.cancel();
    this.#attempt = undefined;
    this.#stopBeatsIfOver();
  }

  #stopBeatsIfOver(): void {
    if (!this.#mayOpen && this.#links.length === 0) this.#beats.cancel();
  }

  #closeIfIdle(link: Link): void {
    if (link.size === 0) link.close();
  }

  // --- opening ---

  #connect(): void {
    if (!this.#mayOpen) return;
    const { transport, clock } = this.#deps;
    let handshake: LinkHandshake | undefined;
    const timeout = clock.after(OPEN_TIMEOUT_MS, () => fail(new LinkRefusedError("no response")));
    const stop = (): void => {
      timeout.cancel();
      dial.cancel();
      handshake?.abandon();
    };
    const fail = (error: Error): void => {
      stop();
      this.#onFailed(error);
    };
    const dial: Dial = transport.dial(this.#target.address, {
      onOpen: (connection) => {
        handshake = new LinkHandshake(connection, this.#target, {
          onAccepted: (rest) => {
            timeout.cancel();
            this.#onAccepted(connection, rest);
          },
          onFailed: fail,
        });
      },
      onFail: fail,
    });
    this.#attempt = { cancel: stop };
  }

  #onFailed(error: Error): void {
    this.#attempt = undefined;
    const { log } = this.#deps;
    const { id } = this.#target;
    if (error instanceof LinkRefusedError && error.isFinal) {
      this.#isUnsupported = true;
      this.#mayOpen = false;
      this.#stopBeatsIfOver();
      log.info({ workerId: id, err: error }, "worker accepts no link; using plain connections");
      return;
    }
    if (this.#failures === 0 && this.#links.length === 0) {
      log.info({ workerId: id, err: error }, "no link to the worker; using plain connections");
    }
    this.#retryLater();
  }

  #retryLater(): void {
    const { clock, random } = this.#deps;
    this.#attempt = clock.after(backoffMs(RETRY, this.#failures, random()), () => {
      this.#attempt = undefined;
      this.#connect();
    });
    this.#failures++;
  }

  #onAccepted(connection: Connection, rest: Buffer): void {
    this.#attempt = undefined;
    const { log, reportBug } = this.#deps;
    const { id } = this.#target;
    const link = new Link(new ConnectionWire(connection), {
      counts: this.counts,
      onClosed: (why) => {
        this.#links = this.#links.filter((other) => other !== link);
        if (!this.#mayOpen) {
          this.#stopBeatsIfOver();
          return;
        }
        log.info(
          { workerId: id, code: errorCode(why) },
          `link to a worker has ended: ${why?.message ?? "closed"}`,
        );
        if (this.#links.length === 0 && this.#attempt === undefined) this.#retryLater();
      },
      onIdle: () => {
        if (!this.#mayOpen) link.close();
      },
      reportBug,
    });
    connection.handler = {
      onData: (bytes) => link.receive(bytes),
      onEnd: () => link.onWireClosed(undefined),
      onDrain: () => link.onDrain(),
      onClose: (error) => link.onWireClosed(error),
    };
    this.#links = [...this.#links, link];
    log.debug({ workerId: id, links: this.#links.length }, "link to a worker is open");
    if (rest.length > 0) link.receive(rest);
  }
}

class ConnectionWire implements Wire {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  get remoteAddress(): string {
    return this.#connection.remoteAddress;
  }

  write(chunk: Chunk): void {
    this.#connection.write([chunk]);
  }

  end(): void {
    this.#connection.end();
  }

  get pendingBytes(): number {
    return this.#connection.pendingBytes;
  }

  destroy(): void {
    this.#connection.destroy();
  }
}
