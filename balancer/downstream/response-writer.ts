/**
 * Writes the responses of one client's connection, one after the other, and what the logs need of each.
 */
import type { RequestHead } from "../http1/head.ts";
import { RequestRecord } from "../logs/log-entry.ts";
import type { RequestLog } from "../logs/request-log.ts";
import { type Connection, type Piece, sizeOf } from "../transport/transport.ts";
import { type MakeResponse, statusOf } from "./responses.ts";

interface WriterDeps {
  readonly requestLog: RequestLog;
  readonly nextRequestId: () => string;
}

/** A response that every client has room for. */
const MAX_TAKEN_AT_ONCE_BYTES = 16_384;

export class ResponseWriter {
  readonly #connection: Connection;
  readonly #deps: WriterDeps;
  /** Of the request whose response comes next, until that is over. */
  #record: RequestRecord | undefined;
  #isBegun = false;
  /** Whether the response does not announce the end of the connection. */
  #keepAlive = false;
  /** Sent with the first bytes of the body, in one system call. */
  #unsentHead: string | undefined;
  /** Whether the client does not take the response as fast as it comes. */
  #isStalled = false;
  /** Bytes of the present response. */
  #bytes = 0;

  constructor(connection: Connection, deps: WriterDeps) {
    this.#connection = connection;
    this.#deps = deps;
  }

  get requestId(): string {
    return this.#record?.requestId ?? "";
  }

  /** Whether the response to the present request has begun; then an error can no longer be sent. */
  get isBegun(): boolean {
    return this.#isBegun;
  }

  get isStalled(): boolean {
    return this.#isStalled;
  }

  /**
   * Whether closing the connection loses nothing of the response even if the client still sends something: the system answers
   * that with a reset and drops what the client has not taken yet. So the system must have all of the response, which must be
   * small; and TLS ends with a message of its own.
   */
  get isSafeFromReset(): boolean {
    const connection = this.#connection;
    if (connection.secure || this.#bytes > MAX_TAKEN_AT_ONCE_BYTES) return false;
    return connection.pendingBytes === 0;
  }

  /** A request has been read, or could not be (`head` undefined): it gets one response and one line in the log. */
  expect(head: RequestHead | undefined, line: string): void {
    this.#isBegun = false;
    this.#bytes = 0;
    this.#record = new RequestRecord({
      requestId: this.#deps.nextRequestId(),
      log: this.#deps.requestLog,
      peerAddress: this.#connection.remoteAddress,
      head,
      line,
    });
  }

  begin(status: number, head: string, keepAlive: boolean): void {
    this.#isBegun = true;
    this.#keepAlive = keepAlive;
    this.#unsentHead = head;
    this.#record?.beginResponse(status, head.length);
  }

  /** False: stop until the connection has drained. */
  send(chunks: readonly Piece[]): boolean {
    const head = this.#unsentHead;
    this.#unsentHead = undefined;
    const all = head === undefined ? chunks : [head, ...chunks];
    const bytes = sizeOf(all);
    this.#bytes += bytes;
    this.#record?.addSent(bytes);
    const hasRoom = this.#connection.write(all);
    this.#isStalled = !hasRoom;
    return hasRoom;
  }

  /** Sends a response of the balancer itself. */
  respond(make: MakeResponse, request: RequestHead | undefined, keepAlive: boolean): void {
    const { status, head, body } = make({
      requestId: this.requestId,
      close: !keepAlive,
      minor: request?.minor ?? 1,
      method: request?.method ?? "GET",
    });
    this.begin(status, head, keepAlive);
    this.send(body === "" ? [] : [body]);
  }

  /** The response is complete. Returns whether the connection may be used again. */
  finish(): boolean {
    this.#record?.onFinished();
    this.#record = undefined;
    return this.#keepAlive;
  }

  /** The client has taken everything. */
  onDrain(): void {
    this.#isStalled = false;
  }

  /** For error.log. `status`: what the client gets, 0 for nothing. */
  logFailure(error: unknown, status: number, worker: string | undefined): void {
    this.#record?.onFailed(error, status, worker);
  }

  /** The response cannot be completed. */
  cut(error: unknown): void {
    this.#record?.onCut(statusOf(error), this.#connection.pendingBytes);
    this.#record = undefined;
  }

  /** The connection is over before the response was, or between two of them. */
  onClosed(): void {
    this.#record?.onClientGone(this.#connection.pendingBytes);
    this.#record = undefined;
  }

  /** The request becomes a tunnel. Returns what is to be called when that is over, with the bytes it sent to the client. */
  detach(): (bodyBytes: number) => void {
    const record = this.#record;
    this.#record = undefined;
    record?.onTunnel();
    return (bodyBytes) => record?.onTunnelOver(bodyBytes);
  }
}
