/**
 * One connection of a client: reads requests, one at a time and in order, sends their answers, keeps time, and ends such
 * that what was answered arrives.
 */
import type { Counters } from "../../shared/metrics/metrics.ts";
import { HttpSyntaxError } from "../http1/fields.ts";
import { BodyReader } from "../http1/framing.ts";
import { HeadCollector, parseRequestHead, type RequestHead } from "../http1/head.ts";
import { isForwardableTrailer } from "../http1/headers.ts";
import type { HttpLimits } from "../http1/limits.ts";
import { RequestRecord } from "../logs/log-entry.ts";
import type { RequestLog } from "../logs/request-log.ts";
import type { Deadline, Deadlines } from "../transport/deadlines.ts";
import type { Connection, ConnectionHandler, Piece } from "../transport/transport.ts";
import type { DrainState } from "./drain-state.ts";
import {
  ClientTimeoutError,
  errorResponse,
  type OwnResponse,
  type ResponseContext,
  statusOf,
} from "./responses.ts";

/** What a client may send, and its time limits in ms. */
export interface DownstreamLimits extends HttpLimits {
  readonly headerTimeoutMs: number;
  readonly bodyTimeoutMs: number;
  readonly keepaliveTimeoutMs: number;
  readonly upstreamTimeoutMs: number;
}

/** One request, as the connection sees it. */
export interface Exchange {
  /** Called once, after the connection knows of it. */
  start(): void;
  /** Part of the request's body, framed as it is sent on; the bytes are valid until the call returns. */
  onBody(pieces: Piece[]): void;
  onBodyEnd(): void;
  /** The client takes more of the answer. */
  onDrain(): void;
  /** Calls `done` with the bytes of the request that the worker has not taken yet; not when the request is over. */
  measureBacklog(done: (bytes: number) => void): void;
  /** The client is gone or too slow: drop everything. The last call. */
  onAbort(): void;
  /** The worker is too slow. */
  onTimeout(): void;
}

/** The client, as a request sees it. */
export interface Client {
  readonly requestId: string;
  readonly remoteAddress: string;
  readonly secure: boolean;
  /** Whether the connection ends with the next answer, because this balancer leaves. */
  readonly isLastAnswer: boolean;
  /** Sends an interim answer (1xx); the answer itself has not begun by it. */
  sendInterim(pieces: readonly Piece[]): void;
  /** Says what the answer is that is sent next, and how many bytes its head has. */
  beginAnswer(status: number, headBytes: number): void;
  /** Sends part of the answer. False: stop until `onDrain`. */
  send(pieces: readonly Piece[]): boolean;
  /** The worker does not take the body as fast as it comes. */
  pauseBody(): void;
  resumeBody(): void;
  /** The answer is complete. `keepAlive`: the client was not told that the connection ends with it. */
  finish(keepAlive: boolean): void;
  /** The answer can not be completed: the client must not take what it got for all. */
  cut(error: unknown, worker: string | undefined): void;
  /** Answers an error, or cuts when an answer has begun. `worker`: `host:port` of the one that failed, if one did. */
  fail(error: unknown, worker: string | undefined): void;
  answer(make: (context: ResponseContext) => OwnResponse): void;
  /** Gives the connection away, to a tunnel; its handler must be set at once. */
  detach(): Detached;
}

export interface Detached {
  readonly connection: Connection;
  /** What the client sent behind its request. */
  readonly early: readonly Buffer[];
  /** Whether the client has ended its side. */
  readonly ended: boolean;
  /** To be called when the connection is over, with what was sent to the client behind the answer's head. */
  readonly onServed: (bodyBytes: number) => void;
}

export interface DownstreamNeeds {
  readonly deadlines: Deadlines;
  readonly limits: DownstreamLimits;
  readonly counters: Counters;
  readonly requestLog: RequestLog;
  readonly nextRequestId: () => string;
  readonly createExchange: (head: RequestHead, client: Client) => Exchange;
  readonly drainState: Readonly<DrainState>;
}

/** A connection whose requests are answered. */
export interface ServedClient {
  /** The balancer leaves: a connection without a request ends soon, any other with its answer. */
  shutDown(): void;
}

/** Bytes of the next requests that are kept while one is answered. */
const MAX_HELD_BYTES = 65_536;
/**
 * A client that ended its side while it waits may have gone or may only have finished asking; TCP does not tell. An
 * answer that begins within this time is still sent.
 */
const HALF_CLOSED_MS = 1000;
/**
 * After our last byte is handed to the system we read on for a while: closing with unread bytes would send RST, and the client might lose the
 * answer (RFC 9112 §9.6).
 */
const LINGER_MS = 2000;
/**
 * While the other side has to take bytes, it is looked so often within its time whether it does. It has stopped when as many
 * looks in a row have seen nothing taken.
 */
const LOOKS = 4;
/**
 * When the balancer leaves, who uses its connection again within this time is told by the answer that it ends. One that is
 * ended without that word may carry a request at that very moment, so those that are in use shall not be.
 */
const LEAVING_IDLE_MS = 5000;

/**
 * `head`: between requests or within a head · `body`: a request's body comes · `answer`: the request is complete, its
 * answer is not · `discard`: its answer is complete, the request's body is not, and the rest is thrown away · `flush`: both
 * are complete, but too much of the answer waits for the client · `lingering`: all is said · `gone`: closed, or given to a
 * tunnel.
 */
type State = "head" | "body" | "answer" | "discard" | "flush" | "lingering" | "gone";

/** Reads requests from `connection` until it ends or becomes a tunnel; then `onOver` is called, once. */
export function serveClient(
  connection: Connection,
  needs: DownstreamNeeds,
  onOver: () => void,
): ServedClient {
  const client = new Downstream(connection, needs, onOver);
  connection.handler = client;
  return client;
}

class Downstream implements ConnectionHandler, Client, ServedClient {
  readonly remoteAddress: string;
  readonly secure: boolean;
  readonly #connection: Connection;
  readonly #needs: DownstreamNeeds;
  readonly #onOver: () => void;
  readonly #deadline: Deadline;
  readonly #collector: HeadCollector;
  #state: State = "head";
  #isFirst = true;
  #head: RequestHead | undefined;
  #exchange: Exchange | undefined;
  #body: BodyReader | undefined;
  #held: Buffer[] = [];
  #heldBytes = 0;
  /** Whether `onData` is at work and will go on with the next request by itself. */
  #reading = false;
  #paused = false;
  /** Whether the client does not take the answer as fast as it comes. */
  #stalled = false;
  #answerBegun = false;
  /** Of the request that is being answered, until its answer is over. */
  #record: RequestRecord | undefined;
  /** Whether the client ended its side. */
  #ended = false;
  /** What the looks since the last event have seen; undefined before the first of them. */
  #watch: Watch | undefined;
  /** Whether all was sent when the end of the last answer was last looked at. */
  #isFlushed = false;

  constructor(connection: Connection, needs: DownstreamNeeds, onOver: () => void) {
    this.#connection = connection;
    this.#needs = needs;
    this.#onOver = onOver;
    this.#collector = new HeadCollector("downstream", needs.limits);
    this.remoteAddress = connection.remoteAddress;
    this.secure = connection.secure;
    this.#deadline = needs.deadlines.create(() => this.#onDeadline());
    this.#deadline.set(needs.limits.headerTimeoutMs);
  }

  // --- events of the connection ---

  onData(bytes: Buffer): void {
    if (this.#isAnswering || this.#held.length > 0) this.#hold(bytes);
    else this.#read(bytes);
  }

  onEnd(): void {
    this.#ended = true;
    switch (this.#state) {
      case "answer":
        if (!this.#answerBegun) this.#deadline.set(HALF_CLOSED_MS);
        break;
      case "flush":
        // Requests that it sent before are answered first.
        if (this.#held.length === 0) this.#linger();
        break;
      case "head":
      case "body":
      case "discard":
        this.#endUnfinished();
        break;
      case "lingering":
      case "gone":
        break;
    }
  }

  /** The client ended its side: what it began to send will never be complete. */
  #endUnfinished(): void {
    if (this.#state === "head" || this.#state === "discard") this.#linger();
    if (this.#state !== "body") return;
    this.#abandon();
    this.#connection.destroy();
  }

  onDrain(): void {
    if (this.#stalled) {
      this.#stalled = false;
      if (this.#state === "flush") this.#awaitRequest();
      else this.#rearm();
    }
    this.#exchange?.onDrain();
  }

  onClose(): void {
    this.#abandon();
    this.#leave();
  }

  // --- reading requests ---

  /** Whether what comes is for later. */
  get #isAnswering(): boolean {
    return this.#state === "answer" || this.#state === "flush";
  }

  #read(bytes: Buffer): void {
    this.#reading = true;
    try {
      this.#readAll(bytes);
    } catch (error) {
      if (!(error instanceof HttpSyntaxError)) throw error;
      this.#refuse(error);
    } finally {
      this.#reading = false;
    }
  }

  #readAll(bytes: Buffer): void {
    let at = 0;
    while (at < bytes.length) {
      switch (this.#state) {
        case "head":
          at = this.#readHead(bytes, at);
          if (at < 0) return;
          break;
        case "body":
          at = this.#readBody(bytes, at);
          break;
        case "discard":
          at = this.#discardBody(bytes, at);
          break;
        case "answer":
        case "flush":
          this.#hold(bytes.subarray(at));
          return;
        case "lingering":
        case "gone":
          return;
      }
    }
  }

  #readHead(bytes: Buffer, at: number): number {
    if (!this.#collector.started && !this.#isFirst) {
      this.#deadline.set(this.#needs.limits.headerTimeoutMs);
    }
    const end = this.#collector.push(bytes, at);
    if (end >= 0) {
      const text = this.#collector.take();
      this.#begin(parseRequestHead(text, this.#needs.limits, this.secure));
    }
    return end;
  }

  #begin(head: RequestHead): void {
    this.#expectAnswer(head, head.line);
    this.#isFirst = false;
    this.#body = head.framing.kind === "none" ? undefined : this.#bodyReader(head);
    this.#state = this.#body === undefined || this.#body.done ? "answer" : "body";
    if (this.#ended) this.#deadline.set(HALF_CLOSED_MS);
    else this.#rearm();
    const exchange = this.#needs.createExchange(head, this);
    this.#exchange = exchange;
    exchange.start();
    if (this.#state === "answer") exchange.onBodyEnd();
  }

  #bodyReader(head: RequestHead): BodyReader {
    return new BodyReader(head.framing, {
      sender: "downstream",
      keepChunks: true,
      mayPass: isForwardableTrailer,
      limits: this.#needs.limits,
    });
  }

  /** A request is there, or what came of one that cannot be read (`head` undefined): it will have one line in the log. */
  #expectAnswer(head: RequestHead | undefined, line: string): void {
    this.#head = head;
    this.#answerBegun = false;
    this.#record = new RequestRecord({
      requestId: this.#needs.nextRequestId(),
      log: this.#needs.requestLog,
      peerAddress: this.remoteAddress,
      head,
      line,
    });
  }

  #readBody(bytes: Buffer, at: number): number {
    const pieces: Piece[] = [];
    const end = this.#body?.read(bytes, at, pieces) ?? bytes.length;
    const exchange = this.#exchange;
    if (pieces.length > 0) exchange?.onBody(pieces);
    // The exchange may have ended over this piece.
    if (this.#state !== "body" || this.#exchange !== exchange) return end;
    if (this.#body?.done === true) {
      this.#state = "answer";
      exchange?.onBodyEnd();
    }
    this.#rearm();
    return end;
  }

  #discardBody(bytes: Buffer, at: number): number {
    const end = this.#body?.read(bytes, at, []) ?? bytes.length;
    this.#rearm();
    if (this.#body?.done === true) this.#goOn();
    return end;
  }

  /** Keeps what came too early. Not paused before there is much of it: a paused connection does not notice an abort. */
  #hold(bytes: Buffer): void {
    this.#held.push(Buffer.from(bytes));
    this.#heldBytes += bytes.length;
    if (this.#heldBytes >= MAX_HELD_BYTES) this.#connection.pause();
  }

  /** Goes on with what was held. */
  #readHeld(): void {
    while (this.#state === "head" && this.#held.length > 0) {
      const bytes = this.#held.length === 1 ? this.#held[0] : Buffer.concat(this.#held);
      this.#held = [];
      this.#heldBytes = 0;
      if (bytes !== undefined) this.#read(bytes);
    }
    if (this.#ended) this.#endUnfinished();
    // Not when the body is paused: its worker may not take anything yet.
    if (!this.#paused && this.#heldBytes < MAX_HELD_BYTES) this.#connection.resume();
  }

  // --- the client, for a request ---

  get isLastAnswer(): boolean {
    return this.#needs.drainState.hasBegun;
  }

  get requestId(): string {
    return this.#record?.requestId ?? "";
  }

  sendInterim(pieces: readonly Piece[]): void {
    this.#connection.write(pieces);
    this.#rearm();
  }

  beginAnswer(status: number, headBytes: number): void {
    this.#record?.beginAnswer(status, headBytes);
  }

  send(pieces: readonly Piece[]): boolean {
    this.#answerBegun = true;
    for (const piece of pieces) this.#record?.addSent(piece.length);
    const more = this.#connection.write(pieces);
    this.#stalled = !more;
    this.#rearm();
    return more;
  }

  pauseBody(): void {
    if (this.#paused || this.#state !== "body") return;
    this.#paused = true;
    this.#connection.pause();
    this.#rearm();
  }

  resumeBody(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#connection.resume();
    this.#rearm();
  }

  finish(keepAlive: boolean): void {
    this.#record?.onFinished();
    this.#record = undefined;
    const complete = this.#state === "answer";
    this.#exchange = undefined;
    if (!keepAlive || (!complete && this.#ended)) {
      this.#linger();
      return;
    }
    this.resumeBody();
    if (complete) {
      this.#goOn();
      return;
    }
    this.#state = "discard";
    this.#rearm();
  }

  /** Both the request and its answer are complete: the next request may come. */
  #goOn(): void {
    this.#body = undefined;
    if (!this.#stalled) {
      this.#awaitRequest();
      return;
    }
    // Else a client that asks on and on and takes nothing would have us keep all of its answers.
    this.#state = "flush";
    this.#waitForFlush();
  }

  #awaitRequest(): void {
    this.#state = "head";
    this.#deadline.set(this.#idleMs());
    if (!this.#reading) this.#readHeld();
  }

  cut(error: unknown, worker: string | undefined): void {
    this.#record?.onFailed(error, 0, worker);
    this.#record?.onCut(statusOf(error), this.#connection.pendingBytes);
    this.#record = undefined;
    this.#exchange = undefined;
    this.#state = "gone";
    this.#connection.reset();
  }

  fail(error: unknown, worker: string | undefined): void {
    if (this.#answerBegun) {
      this.cut(error, worker);
      return;
    }
    const status = statusOf(error);
    this.#needs.counters.count("balancer.failed", String(status));
    this.#record?.onFailed(error, status, worker);
    this.answer((context) => errorResponse(error, context));
  }

  answer(make: (context: ResponseContext) => OwnResponse): void {
    const keepAlive =
      this.#state === "answer" && this.#head?.keepAlive === true && !this.isLastAnswer;
    const own = make({
      requestId: this.requestId,
      close: !keepAlive,
      minor: this.#head?.minor ?? 1,
      method: this.#head?.method ?? "GET",
    });
    this.beginAnswer(own.status, own.headBytes);
    this.send([own.text]);
    this.finish(keepAlive);
  }

  detach(): Detached {
    const early = this.#held;
    this.#held = [];
    this.#exchange = undefined;
    const record = this.#record;
    record?.onTunnel();
    this.#record = undefined;
    this.#head = undefined;
    this.#leave();
    return {
      connection: this.#connection,
      early,
      ended: this.#ended,
      onServed: (bodyBytes) => record?.onTunnelOver(bodyBytes),
    };
  }

  // --- ends ---

  shutDown(): void {
    if (this.#state === "head" && !this.#collector.started) this.#deadline.set(this.#idleMs());
  }

  /** A request that cannot be read: where the next one would begin is not known. */
  #refuse(error: HttpSyntaxError): void {
    this.#needs.counters.count("balancer.refused", error.reason);
    if (this.#state === "discard") {
      // Its answer is complete.
      this.#linger();
      return;
    }
    this.#abandon();
    if (this.#state === "head") this.#expectAnswer(undefined, this.#collector.firstLine());
    if (this.#answerBegun) {
      this.cut(error, undefined);
      return;
    }
    // Not "answer": nothing after these bytes is read.
    this.#state = "body";
    this.#record?.onFailed(error, error.status, undefined);
    this.answer((context) => errorResponse(error, context));
  }

  #abandon(): void {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    exchange?.onAbort();
  }

  #leave(): void {
    this.#record?.onClientGone(this.#connection.pendingBytes);
    this.#record = undefined;
    this.#state = "gone";
    this.#deadline.close();
    this.#onOver();
  }

  #linger(): void {
    this.#state = "lingering";
    this.#held = [];
    this.#heldBytes = 0;
    this.#connection.end();
    this.#connection.resume();
    this.#waitForFlush();
  }

  /** A slow client may still be taking the end of its answer: as long as it goes on, it is waited for. */
  #waitForFlush(): void {
    this.#watch = undefined;
    this.#isFlushed = this.#connection.pendingBytes === 0;
    this.#deadline.set(this.#isFlushed ? LINGER_MS : waitMs("client takes", this.#needs.limits));
  }

  // --- time ---

  /** How long the next request is waited for. */
  #idleMs(): number {
    const { keepaliveTimeoutMs } = this.#needs.limits;
    return this.isLastAnswer ? Math.min(LEAVING_IDLE_MS, keepaliveTimeoutMs) : keepaliveTimeoutMs;
  }

  /** Whose turn it is. */
  get #turn(): Turn {
    if (this.#stalled) return "client takes";
    if (this.#state === "discard" || (this.#state === "body" && !this.#paused)) {
      return "client sends";
    }
    // Its last bytes may be on their way to the worker for long behind its end.
    const isTaken = this.#body === undefined || this.#answerBegun;
    return isTaken && this.#state !== "body" ? "worker answers" : "worker takes";
  }

  /** Whose turn it is decides what is waited for, and how long. */
  #rearm(): void {
    if (this.#state === "gone" || this.#state === "lingering") return;
    // The short wait for a client that ended its side is not prolonged before the answer begins.
    if (this.#ended && !this.#answerBegun) return;
    this.#watch = undefined;
    this.#deadline.set(waitMs(this.#turn, this.#needs.limits));
  }

  #onDeadline(): void {
    switch (this.#state) {
      case "head":
        this.#giveUpHead();
        break;
      case "body":
      case "answer":
        this.#onRequestDeadline();
        break;
      case "discard":
        if (this.#stalled) this.#lookWhether("client takes", () => this.#linger());
        else this.#linger();
        break;
      case "flush":
      case "lingering":
        if (this.#isFlushed) this.#connection.destroy();
        else if (this.#connection.pendingBytes === 0) this.#waitForFlush();
        else this.#lookWhether("client takes", () => this.#connection.destroy());
        break;
      case "gone":
        break;
    }
  }

  #onRequestDeadline(): void {
    const isShortWait = this.#ended && !this.#answerBegun;
    const turn = this.#turn;
    if (isShortWait || turn === "client sends" || turn === "worker answers") this.#giveUpRequest();
    else this.#lookWhether(turn, () => this.#giveUpRequest());
  }

  /** Does `giveUp` when nothing was taken for too long of what waits for the client or the worker. */
  #lookWhether(turn: "client takes" | "worker takes", giveUp: () => void): void {
    const watch: Watch = this.#watch ?? { looks: 0, bytes: undefined };
    this.#watch = watch;
    const taker = turn === "client takes" ? this.#connection : this.#exchange;
    // Before it is measured: who is measured may be gone by then, and says nothing.
    this.#deadline.set(waitMs(turn, this.#needs.limits));
    taker?.measureBacklog((bytes) => {
      // Something has happened meanwhile, and has set the time for what comes next.
      if (this.#watch !== watch || this.#state === "gone") return;
      watch.looks = watch.bytes !== undefined && bytes < watch.bytes ? 0 : watch.looks + 1;
      watch.bytes = bytes;
      if (watch.looks < LOOKS) return;
      this.#deadline.clear();
      giveUp();
    });
  }

  #giveUpHead(): void {
    if (!this.#collector.started) {
      this.#linger();
      return;
    }
    this.#expectAnswer(undefined, this.#collector.firstLine());
    this.fail(new ClientTimeoutError(), undefined);
  }

  #giveUpRequest(): void {
    if (this.#ended && !this.#answerBegun) {
      this.#abandon();
      this.#connection.destroy();
    } else if (this.#turn.startsWith("client")) {
      this.#abandon();
      this.fail(new ClientTimeoutError(), undefined);
    } else {
      this.#exchange?.onTimeout();
    }
  }
}

/** What is waited for: that the client sends its request or takes its answer, that the worker takes or answers it. */
type Turn = "client sends" | "client takes" | "worker takes" | "worker answers";

/** Whether the other side takes what waits for it. */
interface Watch {
  /** Looks in a row that saw nothing taken; the first has nothing to compare with. */
  looks: number;
  bytes: number | undefined;
}

/** How long nothing may happen until it is looked again. */
function waitMs(turn: Turn, limits: DownstreamLimits): number {
  switch (turn) {
    case "client sends":
      return limits.bodyTimeoutMs;
    case "client takes":
      return limits.bodyTimeoutMs / LOOKS;
    case "worker takes":
      return limits.upstreamTimeoutMs / LOOKS;
    case "worker answers":
      return limits.upstreamTimeoutMs;
  }
}
