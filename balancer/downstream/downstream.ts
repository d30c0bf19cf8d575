/**
 * One connection of a client: reads requests, one at a time and in order, passes each to its exchange, and closes such that
 * what was sent arrives. The states of its loop:
 *
 *     head ──► body ──► response ──► head               a request, its response, the next request
 *                │          └──────► flush ──► head     the client has not taken the response yet
 *                └──► discard ──► head or flush         the response is complete before the body is
 *
 *     any ──► lingering ──► closed    the last response is complete: FIN, and reading on for a while; directly to
 *                                     closed: nothing can follow, reset, gone, or handed over to a tunnel
 */
import { HttpSyntaxError } from "../http1/fields.ts";
import { ForwardingFields } from "../http1/forwarding.ts";
import type { Connection, ConnectionHandler, Piece } from "../transport/transport.ts";
import { ClientDeadline, type Turn } from "./client-deadline.ts";
import type { Client, DetachedConnection, Exchange } from "./exchange-contract.ts";
import { PipelinedBytes, RequestReader } from "./request-reader.ts";
import { ResponseWriter } from "./response-writer.ts";
import { ClientTimeoutError, errorResponse, type MakeResponse, statusOf } from "./responses.ts";
import type { DownstreamDeps, ServedClient } from "./served-client.ts";

type State = "head" | "body" | "response" | "discard" | "flush" | "lingering" | "closed";

/** Serves the requests of `connection` until it closes or becomes a tunnel; then `onOver` is called, once. */
export function serveClient(
  connection: Connection,
  deps: DownstreamDeps,
  onOver: (client: ServedClient) => void,
): ServedClient {
  return new Downstream(connection, deps, onOver);
}

class Downstream implements ConnectionHandler, Client, ServedClient {
  readonly peerAddress: string;
  readonly forwarding: ForwardingFields;
  readonly #connection: Connection;
  readonly #deps: DownstreamDeps;
  readonly #onOver: (client: ServedClient) => void;
  place = -1;
  readonly #deadline: ClientDeadline;
  readonly #reader: RequestReader;
  readonly #response: ResponseWriter;
  /** What came while a request was served. */
  readonly #pipelined: PipelinedBytes;
  #state: State = "head";
  #exchange: Exchange | undefined;
  /** Whether `#readAll` is running and will go on with the next request by itself. */
  #isReading = false;
  #isBodyPaused = false;
  /** Whether the client has ended its side. */
  #hasEnded = false;

  constructor(
    connection: Connection,
    deps: DownstreamDeps,
    onOver: (client: ServedClient) => void,
  ) {
    this.#connection = connection;
    this.#deps = deps;
    this.#onOver = onOver;
    this.#reader = new RequestReader(deps.limits, connection.secure);
    this.#response = new ResponseWriter(connection, deps);
    this.#pipelined = new PipelinedBytes(connection);
    this.peerAddress = connection.remoteAddress;
    this.forwarding = new ForwardingFields(this.peerAddress, connection.secure);
    this.#deadline = new ClientDeadline(deps.deadlines, deps.limits, () => this.#onDeadline());
    this.#deadline.awaitHead();
    connection.handler = this;
  }

  // --- events of the connection ---

  onData(bytes: Buffer): void {
    const isBusy = this.#state === "response" || this.#state === "flush";
    if (isBusy || !this.#pipelined.isEmpty) this.#pipelined.push(bytes);
    else this.#read(bytes);
  }

  onEnd(): void {
    this.#hasEnded = true;
    if (this.#state === "response") {
      if (!this.#response.isBegun) this.#deadline.awaitHalfClosed();
    } else if (this.#state === "flush") {
      // Requests that it sent before are served first.
      if (this.#pipelined.isEmpty) this.#linger();
    } else {
      this.#endUnfinished();
    }
  }

  /** The client ended its side: what it began to send will never be complete. */
  #endUnfinished(): void {
    if (this.#state === "head" || this.#state === "discard") {
      this.#linger();
    } else if (this.#state === "body") {
      this.#abort();
      this.#connection.destroy();
    }
  }

  onDrain(): void {
    if (this.#response.isStalled) {
      this.#response.onDrain();
      if (this.#state === "flush") this.#nextRequest();
      else this.#awaitTurn();
    }
    this.#exchange?.onDrain();
  }

  onClose(): void {
    this.#abort();
    this.#leave();
  }

  // --- reading requests ---

  #read(bytes: Buffer): void {
    this.#isReading = true;
    try {
      this.#readAll(bytes);
    } catch (error) {
      if (!(error instanceof HttpSyntaxError)) throw error;
      this.#refuse(error);
    } finally {
      this.#isReading = false;
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
        case "response":
        case "flush":
          this.#pipelined.push(bytes.subarray(at));
          return;
        case "lingering":
        case "closed":
          return;
      }
    }
  }

  #readHead(bytes: Buffer, at: number): number {
    // The limit for the first head counts from the accept.
    const isNext = this.#reader.head !== undefined && !this.#reader.isInHead;
    if (isNext) this.#deadline.awaitHead();
    const end = this.#reader.readHead(bytes, at);
    if (end >= 0) this.#begin();
    return end;
  }

  #begin(): void {
    const { head } = this.#reader;
    if (head === undefined) return;
    this.#response.expect(head, head.line);
    this.#state = this.#reader.isBodyComplete ? "response" : "body";
    if (this.#hasEnded) this.#deadline.awaitHalfClosed();
    else this.#awaitTurn();
    this.#exchange = this.#deps.acceptRequest(head, this);
    this.#exchange?.start();
  }

  #readBody(bytes: Buffer, at: number): number {
    const chunks: Piece[] = [];
    const end = this.#reader.readBody(bytes, at, chunks);
    const isEnd = this.#reader.isBodyComplete;
    const exchange = this.#exchange;
    if (chunks.length > 0 || isEnd) exchange?.onBody(chunks, isEnd);
    // The exchange may have ended the request.
    if (this.#state !== "body" || this.#exchange !== exchange) return end;
    if (isEnd) this.#state = "response";
    this.#awaitTurn();
    return end;
  }

  #discardBody(bytes: Buffer, at: number): number {
    const end = this.#reader.readBody(bytes, at, []);
    this.#awaitTurn();
    if (this.#reader.isBodyComplete) this.#onServed();
    return end;
  }

  #readPipelined(): void {
    while (this.#state === "head" && !this.#pipelined.isEmpty) this.#read(this.#pipelined.take());
    if (this.#hasEnded) this.#endUnfinished();
    // A paused body stays paused: its worker may not take anything yet.
    if (!this.#isBodyPaused && !this.#pipelined.isFull) this.#connection.resume();
  }

  pauseBody(): void {
    if (this.#isBodyPaused || this.#state !== "body") return;
    this.#isBodyPaused = true;
    this.#connection.pause();
    this.#awaitTurn();
  }

  resumeBody(): void {
    if (!this.#isBodyPaused) return;
    this.#isBodyPaused = false;
    this.#connection.resume();
    this.#awaitTurn();
  }

  // --- sending responses ---

  get requestId(): string {
    return this.#response.requestId;
  }

  get isLastResponse(): boolean {
    return this.#deps.drainState.hasBegun;
  }

  sendInterim(head: string): void {
    this.#connection.write([head]);
    this.#awaitTurn();
  }

  beginResponse(status: number, head: string, keepAlive: boolean): void {
    this.#response.begin(status, head, keepAlive);
  }

  send(chunks: readonly Piece[]): boolean {
    const hasRoom = this.#response.send(chunks);
    this.#awaitTurn();
    return hasRoom;
  }

  finish(): void {
    const keepAlive = this.#response.finish();
    const isBodyComplete = this.#state === "response";
    this.#exchange = undefined;
    if (!keepAlive || (!isBodyComplete && this.#hasEnded)) {
      if (this.#mayCloseNow) this.#close();
      else this.#linger();
      return;
    }
    this.resumeBody();
    if (isBodyComplete) {
      this.#onServed();
    } else {
      this.#state = "discard";
      this.#awaitTurn();
    }
  }

  /**
   * Whether the connection may be closed at once: the client announced that it sends nothing more, and has room for the whole
   * response. Not behind a body, after which some clients send CRLF.
   */
  get #mayCloseNow(): boolean {
    const { head, hasBody } = this.#reader;
    if (head?.keepAlive !== false || hasBody || this.#state !== "response") return false;
    return this.#response.isSafeFromReset && this.#pipelined.isEmpty;
  }

  /** Both the request and its response are complete. */
  #onServed(): void {
    this.#reader.endRequest();
    if (this.#response.isStalled) {
      // Otherwise a client that sends requests and takes no responses would have us buffer all of them.
      this.#state = "flush";
      this.#deadline.awaitFlush(this.#connection);
    } else {
      this.#nextRequest();
    }
  }

  #nextRequest(): void {
    this.#state = "head";
    this.#deadline.awaitRequest(this.isLastResponse);
    if (!this.#isReading) this.#readPipelined();
  }

  fail(error: unknown, worker: string | undefined): void {
    if (this.#response.isBegun) {
      this.#cut(error, worker);
      return;
    }
    const status = statusOf(error);
    this.#deps.counters.count("balancer.failed", String(status));
    this.#response.logFailure(error, status, worker);
    this.respond((context) => errorResponse(error, context));
  }

  respond(make: MakeResponse): void {
    const { head } = this.#reader;
    const keepAlive = this.#state === "response" && head?.keepAlive && !this.isLastResponse;
    this.#response.respond(make, head, keepAlive === true);
    this.finish();
  }

  detach(): DetachedConnection {
    const early = this.#pipelined.take();
    this.#exchange = undefined;
    this.#reader.forgetHead();
    const onServed = this.#response.detach();
    this.#leave();
    return { connection: this.#connection, early, ended: this.#hasEnded, onServed };
  }

  // --- the end of the connection ---

  shutDown(): void {
    const isIdle = this.#state === "head" && !this.#reader.isInHead;
    if (isIdle) this.#deadline.awaitRequest(this.isLastResponse);
  }

  destroy(): void {
    this.#connection.destroy();
  }

  /** A request that cannot be parsed: where the next one would begin is unknown, so the connection ends. */
  #refuse(error: HttpSyntaxError): void {
    this.#deps.counters.count("balancer.refused", error.reason);
    if (this.#state === "discard") {
      // Its response is complete.
      this.#linger();
      return;
    }
    this.#abort();
    if (this.#state === "head") this.#response.expect(undefined, this.#reader.refuseHead());
    if (this.#response.isBegun) {
      this.#cut(error, undefined);
      return;
    }
    // Not "response": nothing after these bytes is read.
    this.#state = "body";
    this.#response.logFailure(error, error.status, undefined);
    this.respond((context) => errorResponse(error, context));
  }

  #cut(error: unknown, worker: string | undefined): void {
    this.#response.logFailure(error, 0, worker);
    this.#response.cut(error);
    this.#exchange = undefined;
    this.#state = "closed";
    this.#deadline.close();
    this.#connection.reset();
  }

  #abort(): void {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    exchange?.onAbort();
  }

  #leave(): void {
    this.#response.onClosed();
    this.#state = "closed";
    this.#deadline.close();
    this.#onOver(this);
  }

  #close(): void {
    this.#state = "closed";
    this.#connection.destroy();
  }

  #linger(): void {
    this.#state = "lingering";
    this.#pipelined.take();
    this.#connection.end();
    this.#connection.resume();
    this.#deadline.awaitFlush(this.#connection);
  }

  // --- time limits ---

  get #turn(): Turn {
    if (this.#response.isStalled) return "client takes";
    if (this.#state === "discard" || (this.#state === "body" && !this.#isBodyPaused)) {
      return "client sends";
    }
    // The last bytes of a body may be on their way to the worker long after they were read.
    const isTaken = !this.#reader.hasBody || this.#response.isBegun;
    return isTaken && this.#state !== "body" ? "worker responds" : "worker takes";
  }

  #awaitTurn(): void {
    if (this.#state === "closed" || this.#state === "lingering") return;
    if (!this.#isShortWait) this.#deadline.awaitTurn(this.#turn);
  }

  /** Whether the client has ended its side: the wait for its response to begin is not extended. */
  get #isShortWait(): boolean {
    return this.#hasEnded && !this.#response.isBegun;
  }

  #onDeadline(): void {
    switch (this.#state) {
      case "head":
        if (!this.#reader.isInHead) {
          this.#linger();
          break;
        }
        this.#response.expect(undefined, this.#reader.refuseHead());
        this.fail(new ClientTimeoutError(), undefined);
        break;
      case "body":
      case "response":
      case "discard":
        this.#onRequestDeadline();
        break;
      case "flush":
      case "lingering":
        this.#deadline.checkFlush(this.#connection);
        break;
      case "closed":
        break;
    }
  }

  #onRequestDeadline(): void {
    const turn = this.#turn;
    const isTaking = turn === "client takes" || turn === "worker takes";
    if (!isTaking || this.#isShortWait) {
      this.#giveUpRequest();
      return;
    }
    const taker = turn === "client takes" ? this.#connection : this.#exchange;
    this.#deadline.checkProgress(turn, taker, () => this.#giveUpRequest());
  }

  #giveUpRequest(): void {
    if (this.#state === "discard") {
      this.#linger();
    } else if (this.#isShortWait) {
      this.#abort();
      this.#connection.destroy();
    } else if (this.#turn.startsWith("client")) {
      this.#abort();
      this.fail(new ClientTimeoutError(), undefined);
    } else {
      this.#exchange?.onTimeout();
    }
  }
}
