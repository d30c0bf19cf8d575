/**
 * A checked head, and its serialization (RFC 9112 §2 to §6). `request-head.ts` and `response-head.ts` make one from text.
 */

import type { Framing } from "../../../balancer/http1/framing.ts";
import type { Field } from "./fields.ts";

export interface RequestHead {
  /** The request line as received. */
  readonly line: string;
  readonly method: string;
  /** As sent to the worker: origin-form (an absolute-form's path and query, bytes unchanged), or `*`. */
  readonly target: string;
  /** 1 for HTTP/1.1, 0 for HTTP/1.0. */
  readonly minor: 0 | 1;
  /** As received, in order, including those that are not forwarded. */
  readonly fields: readonly Field[];
  /** Undefined only in HTTP/1.0. */
  readonly host: string | undefined;
  /** None, length or chunked. */
  readonly framing: Framing;
  /** The options of all Connection fields, in lower case. */
  readonly connection: readonly string[];
  /** Whether the client wants to send another request on this connection. */
  readonly keepAlive: boolean;
}

export interface ResponseHead {
  readonly status: number;
  readonly reason: string;
  readonly minor: 0 | 1;
  readonly fields: readonly Field[];
  /** Where the body ends; depends on the request's method. */
  readonly framing: Framing;
  /** The value of Content-Length, also where there is no body (HEAD, 304). */
  readonly length: number | undefined;
  readonly connection: readonly string[];
  /** Whether the worker keeps the connection open after this response. */
  readonly keepAlive: boolean;
}

/**
 * A head as it is sent, blank line included. The start line's parts and the fields must come from a parser or from
 * `makeField`: nothing is checked again here.
 */
export function serializeHead(startLine: string, fields: readonly Field[]): string {
  let text = `${startLine}\r\n`;
  for (const field of fields) text += `${field.name}: ${field.value}\r\n`;
  return `${text}\r\n`;
}

export function requestLine(method: string, target: string): string {
  return `${method} ${target} HTTP/1.1`;
}

/** Responses are HTTP/1.1, also to a request of HTTP/1.0 (RFC 9110 §2.5). */
export function statusLine(status: number, reason: string): string {
  return `HTTP/1.1 ${status} ${reason}`;
}
