/**
 * The contract between a client's connection (downstream.ts) and a request that was read from it (exchange.ts): what each
 * calls on the other.
 */
import type { ForwardingFields } from "../http1/forwarding.ts";
import type { RequestHead } from "../http1/head.ts";
import type { Connection, Piece } from "../transport/transport.ts";
import type { MakeResponse } from "./responses.ts";

/** Undefined: the balancer has sent the response itself. */
export type AcceptRequest = (head: RequestHead, client: Client) => Exchange | undefined;

/** A request under way, as its client's connection sees it. */
export interface Exchange {
  /** Called once, when the connection refers to it: it may end before this returns. */
  start(): void;
  /** Part of the body, framed as it is forwarded; the bytes are valid until the call returns. Not called without a body. */
  onBody(chunks: readonly Piece[], isEnd: boolean): void;
  /** The client takes more of the response. */
  onDrain(): void;
  /** Calls `done` with the bytes of the request that the worker has not taken yet; not when the request is over. */
  measureBacklog(done: (bytes: number) => void): void;
  /** The client is gone or too slow: drop everything. The last call. */
  onAbort(): void;
  /** The worker is too slow. */
  onTimeout(): void;
}

/** The client, as a request sees it. A response is `beginResponse`, `send` any number of times, `finish`. */
export interface Client {
  readonly requestId: string;
  /** See `Connection.remoteAddress`. */
  readonly peerAddress: string;
  readonly forwarding: ForwardingFields;
  /** Whether the connection must end with the next response, because this balancer shuts down. */
  readonly isLastResponse: boolean;
  /** Sends the head of an interim response (1xx). */
  sendInterim(head: string): void;
  /** The head is sent with the first `send`. `keepAlive`: it does not announce the end of the connection. */
  beginResponse(status: number, head: string, keepAlive: boolean): void;
  /** Sends part of the body. False: stop until `onDrain`. */
  send(chunks: readonly Piece[]): boolean;
  /** The response is complete. */
  finish(): void;
  /**
   * Sends an error response. When a response has begun, cuts the connection, so that the client does not take what it got
   * for all of it. `worker`: `host:port` of the one that failed, if one did.
   */
  fail(error: unknown, worker: string | undefined): void;
  /** Sends a response of the balancer itself. */
  respond(make: MakeResponse): void;
  /** The worker does not take the body as fast as it comes. */
  pauseBody(): void;
  resumeBody(): void;
  /** Hands the connection over to a tunnel, which must set its handler at once. */
  detach(): DetachedConnection;
}

export interface DetachedConnection {
  readonly connection: Connection;
  /** What the client sent behind its request. */
  readonly early: Buffer;
  /** Whether the client has ended its side. */
  readonly ended: boolean;
  /** To be called when the connection is over, with the bytes sent to the client behind the response's head. */
  readonly onServed: (bodyBytes: number) => void;
}
