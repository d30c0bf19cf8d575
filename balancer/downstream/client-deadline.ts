/**
 * The time limits of a client's connection: who is waited for, and how long. A side that has bytes to take is not measured
 * by events, because a slow reader empties the system's buffers without any: it is given up only when several checks in a
 * row found that it took nothing.
 */
import type { Slice } from "../../shared/settings/read-settings.ts";
import type { Deadline, Deadlines } from "../transport/deadlines.ts";
import type { Connection } from "../transport/transport.ts";

export const CLIENT_TIMEOUTS = [
  "headerTimeoutMs",
  "bodyTimeoutMs",
  "keepaliveTimeoutMs",
  "upstreamTimeoutMs",
] as const;
export type ClientTimeouts = Slice<typeof CLIENT_TIMEOUTS>;

/**
 * What is waited for: that the client sends its request or takes its response, that the worker takes the one or sends the
 * other.
 */
export type Turn = "client sends" | "client takes" | "worker takes" | "worker responds";

/**
 * A client that ended its side while it waits may have gone or may only have sent its last request; TCP does not tell. A
 * response that begins within this time is still sent.
 */
const HALF_CLOSED_MS = 1000;
/**
 * After our last byte is handed to the system the connection is read for a while: closing with unread bytes would send RST,
 * and the client might lose the response (RFC 9112 §9.6).
 */
const LINGER_MS = 2000;
/**
 * How long a client may reuse its connection while the balancer shuts down; the response then announces the end. Closing an
 * active keep-alive connection races with the client's next request (RFC 9112 §9.5), so only idle ones are closed.
 */
const SHUTDOWN_IDLE_MS = 5000;
/** Checks within the time limit of a side that has bytes to take; when as many in a row saw no progress, it has stopped. */
const CHECKS = 4;

/** The one deadline of a connection: setting it replaces the one before. */
export class ClientDeadline {
  readonly #timeouts: ClientTimeouts;
  readonly #deadline: Deadline;
  /** Undefined until the first check of what is waited for now. */
  #progress: Progress | undefined;
  /** Whether everything was sent when the wait for the end of a response began. */
  #isFlushed = false;

  constructor(deadlines: Deadlines, timeouts: ClientTimeouts, onPassed: () => void) {
    this.#timeouts = timeouts;
    this.#deadline = deadlines.create(onPassed);
  }

  /** For the rest of a request's head. */
  awaitHead(): void {
    this.#set(this.#timeouts.headerTimeoutMs);
  }

  /** For the next request. */
  awaitRequest(isShuttingDown: boolean): void {
    const { keepaliveTimeoutMs } = this.#timeouts;
    this.#set(isShuttingDown ? Math.min(SHUTDOWN_IDLE_MS, keepaliveTimeoutMs) : keepaliveTimeoutMs);
  }

  /** For the response to a client that has ended its side. */
  awaitHalfClosed(): void {
    this.#set(HALF_CLOSED_MS);
  }

  awaitTurn(turn: Turn): void {
    this.#set(waitMs(turn, this.#timeouts));
  }

  /** For the client to take the end of its response; `checkFlush` follows when the time has passed. */
  awaitFlush(connection: Connection): void {
    this.#isFlushed = connection.pendingBytes === 0;
    this.#set(this.#isFlushed ? LINGER_MS : waitMs("client takes", this.#timeouts));
  }

  /** Closes the connection unless its client still takes the end of its response, however slowly. */
  checkFlush(connection: Connection): void {
    if (this.#isFlushed) connection.destroy();
    else if (connection.pendingBytes === 0) this.awaitFlush(connection);
    else this.checkProgress("client takes", connection, () => connection.destroy());
  }

  /** Calls `giveUp` when `taker` has taken nothing within the time limit of `turn`; else checks again later. */
  checkProgress(
    turn: "client takes" | "worker takes",
    taker: Pick<Connection, "measureBacklog"> | undefined,
    giveUp: () => void,
  ): void {
    const progress: Progress = this.#progress ?? { idleChecks: 0, bytes: undefined };
    // Before measuring: a taker that is gone by then never calls back.
    this.#deadline.set(waitMs(turn, this.#timeouts));
    this.#progress = progress;
    taker?.measureBacklog((bytes) => {
      // An event in between has set the limit for what comes next.
      if (this.#progress !== progress) return;
      const hasTaken = progress.bytes !== undefined && bytes < progress.bytes;
      progress.idleChecks = hasTaken ? 0 : progress.idleChecks + 1;
      progress.bytes = bytes;
      if (progress.idleChecks < CHECKS) return;
      this.#progress = undefined;
      this.#deadline.clear();
      giveUp();
    });
  }

  close(): void {
    this.#progress = undefined;
    this.#deadline.close();
  }

  #set(delayMs: number): void {
    this.#progress = undefined;
    this.#deadline.set(delayMs);
  }
}

interface Progress {
  /** Checks in a row that saw nothing taken; the first has nothing to compare with and counts. */
  idleChecks: number;
  bytes: number | undefined;
}

/** Time limit of a turn, or until the next check. */
function waitMs(turn: Turn, timeouts: ClientTimeouts): number {
  switch (turn) {
    case "client sends":
      return timeouts.bodyTimeoutMs;
    case "client takes":
      return timeouts.bodyTimeoutMs / CHECKS;
    case "worker takes":
      return timeouts.upstreamTimeoutMs / CHECKS;
    case "worker responds":
      return timeouts.upstreamTimeoutMs;
  }
}
