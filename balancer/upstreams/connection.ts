/**
 * One connection to a worker: sends one request at a time, hands on its checked answer, and knows whether it can be used
 * again.
 */
import { EdgeError } from "../../shared/base/errors.ts";
import { HttpSyntaxError } from "../http1/fields.ts";
import { BodyReader } from "../http1/framing.ts";
import type { ResponseHead } from "../http1/head.ts";
import { HeadCollector } from "../http1/head-collector.ts";
import { isForwardableTrailer } from "../http1/headers.ts";
import { type KeepAliveHint, NO_HINT, readKeepAlive, usableIdleMs } from "../http1/keep-alive.ts";
import { parseResponseHead } from "../http1/response-head.ts";
import type { Connection, ConnectionHandler, Piece } from "../transport/transport.ts";

/** A worker could not be reached, or broke off before its answer was complete. */
export class UpstreamError extends EdgeError {
  readonly code = "EDGE_UPSTREAM";
  readonly source = "upstream";
  readonly retryable: boolean;
  readonly kind: UpstreamFailure;

  constructor(kind: UpstreamFailure, cause?: unknown) {
    super(FAILURES[kind], { cause });
    this.kind = kind;
    this.retryable = kind === "refused" || kind === "connect-timeout";
  }
}

/** `closed`: the connection ended too early. `garbage`: what came is no HTTP answer. */
export type UpstreamFailure =
  | "refused"
  | "connect-timeout"
  | "timeout"
  | "closed"
  | "invalid-response";

const FAILURES: Record<UpstreamFailure, string> = {
  refused: "the worker cannot be reached; check that it runs and listens where its record says",
  "connect-timeout": "the worker did not accept the connection in time; check its load",
  timeout: "the worker did not answer in time; check its load",
  closed: "the worker closed the connection before its answer was complete; see its log",
  "invalid-response": "the worker's answer is not valid HTTP/1.1",
};

/** Who sends a request and gets its response. Nothing is called after the end, `onSwitch` or `onUpstreamFailed`. */
export interface ResponseHandler {
  /** A connection that was dialled for it is open. */
  onConnected(connection: UpstreamConnection): void;
  /** Of an interim response (1xx but 101), or of the response. */
  onResponseHead(head: ResponseHead): void;
  /** All of the body that came in one read, possibly nothing; the bytes are valid until the call returns. */
  onResponseBody(chunks: readonly Piece[], isEnd: boolean): void;
  /** 101: the connection belongs to the handler from now on; `rest` came behind the head. */
  onSwitch(head: ResponseHead, connection: Connection, rest: Buffer): void;
  onUpstreamFailed(error: UpstreamError): void;
  /** The worker responds to no requests any more; the connection is still open. */
  onUpstreamSilent(): void;
  /** The worker takes more of the request. */
  onUpstreamDrain(): void;
}

export interface Request {
  readonly method: string;
  /** Whether the client can be sent chunks (HTTP/1.1). */
  readonly keepChunks: boolean;
  /** Whether 101 may come. */
  readonly upgrade: boolean;
}

export class UpstreamConnection implements ConnectionHandler {
  readonly #connection: Connection;
  /** Called once, when it cannot be used any more. */
  readonly #onGone: () => void;
  readonly #collector = new HeadCollector("upstream");
  #handler: ResponseHandler | undefined;
  #request: Request | undefined;
  #body: BodyReader | undefined;
  #keepAlive = true;
  #hint: KeepAliveHint = NO_HINT;
  #answered = false;
  #served = 0;
  #open = true;

  constructor(connection: Connection, onGone: () => void) {
    this.#connection = connection;
    this.#onGone = onGone;
    connection.handler = this;
  }

  /** Whether it served a request before: then its end without an answer may just be an idle limit of the worker. */
  get isReused(): boolean {
    return this.#served > 1;
  }

  /** Whether any byte of an answer to the present request has come. */
  get hasResponse(): boolean {
    return this.#answered;
  }

  /** Begins a request; its bytes are then given to `write`. */
  start(request: Request, handler: ResponseHandler): void {
    this.#request = request;
    this.#handler = handler;
    this.#body = undefined;
    this.#answered = false;
    this.#served++;
  }

  /** False: stop until `onDrain`. */
  write(pieces: readonly Piece[]): boolean {
    return this.#connection.write(pieces);
  }

  /** Bytes of the request that the worker has not taken yet (`Connection.measureBacklog`). */
  measureBacklog(done: (bytes: number) => void): void {
    this.#connection.measureBacklog(done);
  }

  pause(): void {
    this.#connection.pause();
  }

  resume(): void {
    this.#connection.resume();
  }

  /** Whether it can take another request now that the answer has ended. */
  get isReusable(): boolean {
    return this.#open && this.#keepAlive && this.#hint.max > 0 && this.#handler === undefined;
  }

  /** How long it may be idle before the next request, as the worker announced it. */
  get maxIdleMs(): number {
    return usableIdleMs(this.#hint.timeoutMs);
  }

  /** Gives the request up, and the connection with it; the handler is not called any more. */
  abort(): void {
    this.#handler = undefined;
    this.#leave();
    this.#connection.reset();
  }

  /** The worker is taken for dead: what is under way has failed. */
  giveUp(): void {
    this.#fail(new UpstreamError("closed"));
  }

  /** The worker answers nobody any more: a request that may go elsewhere need not wait for it. */
  reportSilent(): void {
    this.#handler?.onUpstreamSilent();
  }

  /** Closes it in order, between requests. */
  close(): void {
    this.#leave();
    this.#connection.destroy();
  }

  // --- events ---

  onData(bytes: Buffer): void {
    const handler = this.#handler;
    if (handler === undefined) {
      // Bytes that no request asked for would be taken as the answer to the next one.
      this.close();
      return;
    }
    this.#answered = true;
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

  // --- reading an answer ---

  #read(bytes: Buffer, handler: ResponseHandler): void {
    let at = 0;
    while (at < bytes.length && this.#handler === handler) {
      const isHead = this.#body === undefined;
      if (isHead) {
        at = this.#collector.push(bytes, at);
        if (at < 0) return;
        this.#takeHead(this.#collector.take(), bytes, at, handler);
      }
      const body = this.#body;
      if (body === undefined || this.#handler !== handler) continue;
      const chunks: Piece[] = [];
      if (!body.done) at = body.read(bytes, at, chunks);
      if (body.done) {
        // More than one response: nothing on this connection can be trusted any more.
        if (at < bytes.length) this.#keepAlive = false;
        this.#handler = undefined;
      }
      if (isHead || chunks.length > 0 || body.done) handler.onResponseBody(chunks, body.done);
    }
  }

  #takeHead(text: string, bytes: Buffer, at: number, handler: ResponseHandler): void {
    const request = this.#request;
    if (request === undefined) return;
    const head = parseResponseHead(text, request.method);
    if (head.status === 101) {
      if (!request.upgrade) throw new HttpSyntaxError("upstream", 400, "101 without being asked");
      this.#handler = undefined;
      this.#leave();
      handler.onSwitch(head, this.#connection, bytes.subarray(at));
      return;
    }
    if (head.status < 200) {
      handler.onResponseHead(head);
      return;
    }
    this.#keepAlive = head.keepAlive && !hasBodyAgainstRules(head);
    this.#hint = readKeepAlive(head.fields);
    this.#body = new BodyReader(head.framing, {
      sender: "upstream",
      keepChunks: request.keepChunks,
      mayPass: isForwardableTrailer,
    });
    handler.onResponseHead(head);
  }

  #fail(error: UpstreamError): void {
    const handler = this.#handler;
    this.#handler = undefined;
    if (!this.#open) return;
    this.#leave();
    this.#connection.destroy();
    handler?.onUpstreamFailed(error);
  }

  #leave(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#onGone();
  }
}

/** A 204 that announces a body may send one: its bytes would be read as the next answer. */
function hasBodyAgainstRules(head: ResponseHead): boolean {
  return head.status === 204 && head.fields.some(isFraming);
}

function isFraming(field: { readonly lower: string }): boolean {
  return field.lower === "content-length" || field.lower === "transfer-encoding";
}
