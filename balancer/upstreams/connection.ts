/**
 * One connection to a worker: sends one request at a time, passes on the validated response, and decides whether the
 * connection can be reused.
 */
import { EdgeError } from "../../shared/base/errors.ts";
import { HttpSyntaxError } from "../http1/fields.ts";
import { BodyReader, type Framing } from "../http1/framing.ts";
import type { ResponseHead } from "../http1/head.ts";
import { HeadCollector } from "../http1/head-collector.ts";
import { isForwardableTrailer } from "../http1/headers.ts";
import { type KeepAliveHint, NO_HINT, readKeepAlive, usableIdleMs } from "../http1/keep-alive.ts";
import { parseResponseHead } from "../http1/response-head.ts";
import type { Connection, ConnectionHandler, Piece } from "../transport/transport.ts";

/** A worker could not be reached, or failed before its response was complete. */
export class UpstreamError extends EdgeError {
  readonly code = "EDGE_UPSTREAM";
  readonly kind: UpstreamFailure;

  constructor(kind: UpstreamFailure, cause?: unknown) {
    super(FAILURES[kind], { cause });
    this.kind = kind;
  }
}

/** `closed`: the connection ended before the response was complete. */
export type UpstreamFailure =
  | "refused"
  | "connect-timeout"
  | "timeout"
  | "closed"
  | "invalid-response";

const FAILURES: Record<UpstreamFailure, string> = {
  refused: "the worker cannot be reached; check that it runs and listens where its record says",
  "connect-timeout": "the worker did not accept the connection in time; check its load",
  timeout: "the worker did not respond in time; check its load",
  closed: "the worker closed the connection before its response was complete; see its log",
  "invalid-response":
    "the worker's response is not valid HTTP/1.1; check what listens at its address",
};

/** Receives the response to one request. Nothing is called after the end, `onSwitch` or `onUpstreamFailed`. */
export interface ResponseHandler {
  /** The connection dialled for this request is open. */
  onConnected(connection: UpstreamConnection): void;
  /** The head of an interim response (1xx except 101) or of the response. */
  onResponseHead(head: ResponseHead): void;
  /** All body bytes of one read, possibly none; they are valid until the call returns. */
  onResponseBody(chunks: readonly Piece[], isEnd: boolean): void;
  /** 101: the handler owns the connection from now on; `rest` is what followed the head. */
  onSwitch(head: ResponseHead, connection: Connection, rest: Buffer): void;
  onUpstreamFailed(error: UpstreamError): void;
  /** The worker has stopped responding; the connection is still open. */
  onUpstreamSilent(): void;
  /** More of the request can be written. */
  onUpstreamDrain(): void;
}

export interface Request {
  readonly method: string;
  /** Whether the client understands chunked encoding (HTTP/1.1). */
  readonly keepChunks: boolean;
  /** Whether a 101 response is allowed. */
  readonly upgrade: boolean;
}

export class UpstreamConnection implements ConnectionHandler {
  readonly #connection: Connection;
  /** Whether it is a stream of a link. */
  readonly isStream: boolean;
  /** Called once, when the connection can no longer be used. */
  readonly #onGone: () => void;
  readonly #collector = new HeadCollector("upstream");
  #handler: ResponseHandler | undefined;
  #request: Request | undefined;
  /** Of the present response, once its head is read. */
  #body: BodyReader | undefined;
  /** The same for all responses. */
  #bodyReader: BodyReader | undefined;
  #keepAlive = true;
  #hint: KeepAliveHint = NO_HINT;
  #hasResponse = false;
  /** In the pool it is not reused from this time on (monotonic). */
  idleUntilMs = 0;
  #served = 0;
  #open = true;

  constructor(connection: Connection, isStream: boolean, onGone: () => void) {
    this.#connection = connection;
    this.isStream = isStream;
    this.#onGone = onGone;
    connection.handler = this;
  }

  /** Whether a request is in flight. */
  get isBusy(): boolean {
    return this.#handler !== undefined;
  }

  /** Whether it served an earlier request: closing without a response may then be the worker's idle timeout. */
  get isReused(): boolean {
    return this.#served > 1;
  }

  /** Whether any byte of the response to the current request has arrived. */
  get hasResponse(): boolean {
    return this.#hasResponse;
  }

  /** Begins a request; its bytes follow through `write`. */
  start(request: Request, handler: ResponseHandler): void {
    this.#request = request;
    this.#handler = handler;
    this.#body = undefined;
    this.#hasResponse = false;
    this.#served++;
  }

  /** False: stop until `onDrain`. */
  write(chunks: readonly Piece[]): boolean {
    return this.#connection.write(chunks);
  }

  /** Bytes of the request that are still unsent (`Connection.measureBacklog`). */
  measureBacklog(done: (bytes: number) => void): void {
    this.#connection.measureBacklog(done);
  }

  pause(): void {
    this.#connection.pause();
  }

  resume(): void {
    this.#connection.resume();
  }

  /** Whether it can carry another request after the response has ended. */
  get isReusable(): boolean {
    return this.#open && this.#keepAlive && this.#hint.max > 0 && this.#handler === undefined;
  }

  /** The idle timeout that the worker announced. */
  get maxIdleMs(): number {
    return usableIdleMs(this.#hint.timeoutMs);
  }

  /** Cancels the request and resets the connection; the handler is not called again. */
  abort(): void {
    this.#handler = undefined;
    this.#markClosed();
    this.#connection.reset();
  }

  /** Fails the request in flight, because its worker is down. */
  fail(): void {
    this.#fail(new UpstreamError("closed"));
  }

  /** The worker has stopped responding: a request that another worker can serve need not wait for it. */
  reportSilent(): void {
    this.#handler?.onUpstreamSilent();
  }

  /** Closes it cleanly, between requests. */
  close(): void {
    this.#markClosed();
    this.#connection.destroy();
  }

  // --- events ---

  onData(bytes: Buffer): void {
    const handler = this.#handler;
    if (handler === undefined) {
      // Unsolicited bytes would be read as the response to the next request.
      this.close();
      return;
    }
    this.#hasResponse = true;
    try {
      this.#read(bytes, handler);
    } catch (error) {
      if (!(error instanceof HttpSyntaxError)) throw error;
      this.#fail(new UpstreamError("invalid-response", error));
    }
  }

  onEnd(): void {
    const handler = this.#handler;
    if (handler !== undefined && this.#body?.finish() === true) {
      this.#keepAlive = false;
      this.#handler = undefined;
      handler.onResponseBody([], true);
      return;
    }
    this.#fail(new UpstreamError("closed"));
  }

  onDrain(): void {
    this.#handler?.onUpstreamDrain();
  }

  onClose(error: Error | undefined): void {
    this.#fail(new UpstreamError("closed", error));
  }

  // --- reading a response ---

  #read(bytes: Buffer, handler: ResponseHandler): void {
    let at = 0;
    while (at < bytes.length && this.#handler === handler) {
      const isHead = this.#body === undefined;
      if (isHead) {
        at = this.#collector.push(bytes, at);
        if (at < 0) return;
        this.#onHead(this.#collector.take(), bytes, at, handler);
      }
      const body = this.#body;
      if (body === undefined || this.#handler !== handler) continue;
      const chunks: Piece[] = [];
      if (!body.done) at = body.read(bytes, at, chunks);
      if (body.done) {
        // Bytes behind the response: the connection is out of sync.
        if (at < bytes.length) this.#keepAlive = false;
        this.#handler = undefined;
      }
      if (isHead || chunks.length > 0 || body.done) handler.onResponseBody(chunks, body.done);
    }
  }

  #onHead(text: string, bytes: Buffer, at: number, handler: ResponseHandler): void {
    const request = this.#request;
    if (request === undefined) return;
    const head = parseResponseHead(text, request.method, bytes, this.#collector.textStart);
    if (head.status === 101) {
      if (!request.upgrade)
        throw new HttpSyntaxError("upstream", 400, "101 without an Upgrade request");
      this.#handler = undefined;
      this.#markClosed();
      handler.onSwitch(head, this.#connection, bytes.subarray(at));
      return;
    }
    if (head.status < 200) {
      handler.onResponseHead(head);
      return;
    }
    this.#keepAlive = head.keepAlive && !hasBodyAgainstRules(head);
    this.#hint = readKeepAlive(head.values.keepAlive);
    this.#body = this.#readerFor(head.framing, request.keepChunks);
    handler.onResponseHead(head);
  }

  #readerFor(framing: Framing, keepChunks: boolean): BodyReader {
    if (this.#bodyReader === undefined) {
      const mayPass = isForwardableTrailer;
      this.#bodyReader = new BodyReader(framing, { sender: "upstream", keepChunks, mayPass });
    } else {
      this.#bodyReader.begin(framing, keepChunks);
    }
    return this.#bodyReader;
  }

  #fail(error: UpstreamError): void {
    const handler = this.#handler;
    this.#handler = undefined;
    if (!this.#open) return;
    this.#markClosed();
    this.#connection.destroy();
    handler?.onUpstreamFailed(error);
  }

  #markClosed(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#onGone();
  }
}

/** A 204 that announces a body may send one: its bytes would be read as the next response. */
function hasBodyAgainstRules(head: ResponseHead): boolean {
  return head.status === 204 && (head.length !== undefined || head.isChunked);
}
