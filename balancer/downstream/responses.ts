/**
 * The balancer's own responses: one table from error to status, and a short constant text for each. They contain nothing
 * that a client sent and nothing internal. Pure.
 */
import { EdgeError } from "../../shared/base/errors.ts";
import { REQUEST_ID_HEADER } from "../../shared/net/edge-headers.ts";
import { type Field, HttpSyntaxError, makeField } from "../http1/fields.ts";
import { serializeHead, statusLine } from "../http1/head.ts";
import { UpstreamError } from "../upstreams/connection.ts";
import { LimitError } from "./limit-error.ts";

/** No worker can take a request: there is none, or all are draining or unhealthy. */
export class NoUpstreamError extends EdgeError {
  readonly code = "EDGE_NO_UPSTREAM";
  constructor(workers: number) {
    super(
      `no worker can take this request (${workers} in the cluster); check that workers run and renew their lease`,
    );
  }
}

/** The worker of a request is at its limit of concurrent requests (`CT_MAX_REQUESTS_PER_WORKER`). */
export class BusyError extends EdgeError {
  readonly code = "EDGE_WORKER_BUSY";
  constructor() {
    super(
      "the worker is at CT_MAX_REQUESTS_PER_WORKER; check its load, add workers, or raise the limit",
    );
  }
}

/** The number of client connections is at its limit (`CT_MAX_CONNECTIONS`). */
export class TooManyConnectionsError extends EdgeError {
  readonly code = "EDGE_TOO_MANY_CONNECTIONS";
  constructor() {
    super("too many client connections; raise CT_MAX_CONNECTIONS or ulimit -n");
  }
}

/** A connection's PROXY protocol header cannot be used. */
export class ProxyHeaderError extends EdgeError {
  readonly code = "EDGE_PROXY_HEADER";
  constructor(reason: string) {
    super(
      `a peer in CT_TRUSTED_PROXIES sent a PROXY protocol header that cannot be used: ${reason}; check how the TCP balancer there ` +
        "is set up (send-proxy-v2 in HAProxy, proxy_protocol in nginx)",
    );
  }
}

/** A worker named another owner of the session, and the request could not follow; it soon can. */
export class MovingError extends EdgeError {
  readonly code = "EDGE_SESSION_MOVING";
  /** `why`: a `MovingReason` of routing/, which this folder does not import. */
  constructor(why: string) {
    super(`the session is at another worker and the request cannot follow it (${why}); try again`);
  }
}

/** A method that is rejected for every target. */
export class MethodNotAllowedError extends EdgeError {
  readonly code = "EDGE_METHOD_NOT_ALLOWED";
  constructor(method: "TRACE") {
    super(`a client sent ${method}, which is rejected for every target`);
  }
}

/** A client was too slow to send its request or to take its response. */
export class ClientTimeoutError extends EdgeError {
  readonly code = "EDGE_CLIENT_TIMEOUT";
  constructor() {
    super("a client did not send its request or take its response in time");
  }
}

/** A response of the balancer itself. */
export interface OwnResponse {
  readonly status: number;
  /** Latin1, as all text on the wire. */
  readonly head: string;
  /** Empty in the response to HEAD. */
  readonly body: string;
}

const REASONS: ReadonlyMap<number, string> = new Map([
  [200, "OK"],
  [400, "Bad Request"],
  [404, "Not Found"],
  [405, "Method Not Allowed"],
  [408, "Request Timeout"],
  [414, "URI Too Long"],
  [429, "Too Many Requests"],
  [431, "Request Header Fields Too Large"],
  [500, "Internal Server Error"],
  [502, "Bad Gateway"],
  [503, "Service Unavailable"],
  [504, "Gateway Timeout"],
]);

const MESSAGES: ReadonlyMap<number, string> = new Map([
  [400, "The request is not valid HTTP/1.1."],
  [405, "This method is not allowed."],
  [408, "The request did not arrive in time."],
  [414, "The request target is too long."],
  [429, "Too many requests come from your network. Try again in a moment."],
  [431, "The request head is too large."],
  [500, "The request failed inside the edge."],
  [502, "The worker did not send a valid response."],
  [503, "No worker can take this request now. Try again."],
  [504, "The worker did not respond in time."],
]);

/** Used instead where a status has several causes that the user can fix. */
const MESSAGES_BY_CODE: ReadonlyMap<string, string> = new Map([
  ["EDGE_PLAIN_HTTP", "This port speaks HTTPS. Use https:// in the URL."],
  ["EDGE_PROXY_PROTOCOL", "This port does not take the PROXY protocol."],
  ["EDGE_PROXY_HEADER_MISSING", "This port takes the PROXY protocol, and its header is missing."],
]);

/** After a 503: by then a worker is back or a session has moved. */
const RETRY_AFTER_S = 1;

/** RFC 9110 §15.5.6: the methods that are allowed. Workers may support more. */
const ALLOWED = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/** The status that a client gets for an error. */
export function statusOf(error: unknown): number {
  if (error instanceof HttpSyntaxError) {
    return error.source === "downstream" ? error.status : 502;
  }
  if (error instanceof UpstreamError) {
    return error.kind === "timeout" || error.kind === "connect-timeout" ? 504 : 502;
  }
  if (error instanceof NoUpstreamError || error instanceof MovingError) return 503;
  if (error instanceof BusyError || error instanceof TooManyConnectionsError) return 503;
  if (error instanceof MethodNotAllowedError) return 405;
  if (error instanceof LimitError) return 429;
  return error instanceof ClientTimeoutError ? 408 : 500;
}

/** How a response is framed. */
export interface ResponseContext {
  readonly requestId: string;
  readonly close: boolean;
  readonly minor: 0 | 1;
  /** HEAD gets the length of the body, but no body. */
  readonly method: string;
}

export type MakeResponse = (context: ResponseContext) => OwnResponse;

/** The body has the shape of the session protocol's errors, so that clients can show it. */
export function errorResponse(error: unknown, context: ResponseContext): OwnResponse {
  const status = statusOf(error);
  const code = error instanceof EdgeError ? error.code : "EDGE_INTERNAL";
  const body = {
    code,
    params: [],
    message: MESSAGES_BY_CODE.get(code) ?? MESSAGES.get(status) ?? "",
    requestId: context.requestId,
  };
  const fields =
    error instanceof LimitError
      ? [makeField("Retry-After", String(error.retryAfterS))]
      : fieldsFor(status);
  return ownResponse(status, body, fields, context);
}

function fieldsFor(status: number): readonly Field[] {
  if (status === 405) return [makeField("Allow", ALLOWED)];
  return status === 503 ? [makeField("Retry-After", String(RETRY_AFTER_S))] : [];
}

/** For `/ct-health/` on a public port. */
export function healthResponse(
  status: "ok" | "no worker" | "leaving",
  context: ResponseContext,
): OwnResponse {
  return ownResponse(status === "ok" ? 200 : 503, { status }, [], context);
}

/** For a certificate authority that verifies a name (RFC 8555 §8.3). `text`: undefined if this edge has no such challenge. */
export function challengeResponse(text: string | undefined, context: ResponseContext): OwnResponse {
  const body = text ?? "This edge has no such challenge.";
  return textResponse(
    text === undefined ? 404 : 200,
    body,
    "text/plain; charset=utf-8",
    [],
    context,
  );
}

function ownResponse(
  status: number,
  body: unknown,
  extra: readonly Field[],
  context: ResponseContext,
): OwnResponse {
  const type = "application/json; charset=utf-8";
  return textResponse(status, JSON.stringify(body), type, extra, context);
}

/** `text`: ASCII. */
function textResponse(
  status: number,
  text: string,
  type: string,
  extra: readonly Field[],
  context: ResponseContext,
): OwnResponse {
  const fields = [
    makeField("Content-Type", type),
    makeField("Content-Length", String(text.length)),
    makeField("Cache-Control", "no-store"),
    makeField(REQUEST_ID_HEADER, context.requestId),
    ...extra,
  ];
  if (context.close) fields.push(makeField("Connection", "close"));
  else if (context.minor === 0) fields.push(makeField("Connection", "keep-alive"));
  return {
    status,
    head: serializeHead(statusLine(status, REASONS.get(status) ?? ""), fields),
    body: context.method === "HEAD" ? "" : text,
  };
}
