/**
 * A checked head, and its serialization (RFC 9112 §2 to §6). `request-head.ts` and `response-head.ts` make one from text.
 */
import type { Field } from "./fields.ts";
import type { Framing } from "./framing.ts";

export interface RequestHead {
  /** The request line as received. */
  readonly line: string;
  readonly method: string;
  /** As sent to the worker: origin-form (an absolute-form's path and query, bytes unchanged), or `*`. */
  readonly target: string;
  /** 1 for HTTP/1.1, 0 for HTTP/1.0. */
  readonly minor: 0 | 1;
  /** As received, in order, including those that are not forwarded. Parsed when first read. */
  readonly fields: readonly Field[];
  readonly values: RequestValues;
  /** The fields that are forwarded, as they are sent; undefined for an unusual head (`keptOfRequest`). */
  readonly kept: string | undefined;
  /** Undefined only in HTTP/1.0. */
  readonly host: string | undefined;
  /** None, length or chunked. */
  readonly framing: Framing;
  /** The options of all Connection fields, in lower case. */
  readonly connection: readonly string[];
  /** Whether the client wants to send another request on this connection. */
  readonly keepAlive: boolean;
}

/** The values of fields that are read of nearly every request; undefined and empty for a missing field. */
export interface RequestValues {
  /** Of the last field of the name, as the next two. */
  readonly referer: string | undefined;
  readonly userAgent: string | undefined;
  readonly authorization: string | undefined;
  /** Of all Cookie fields, separated by `;`. */
  readonly cookies: string;
  /** Of all `ctstickiness` fields. */
  readonly keys: readonly string[];
  /** Of all `x-oct-jwt` fields. */
  readonly tokens: readonly string[];
  /** The X-Forwarded-For fields that are not empty, as one list. */
  readonly forwardedFor: string | undefined;
  readonly hasExpect: boolean;
}

export interface ResponseHead {
  readonly status: number;
  readonly reason: string;
  readonly minor: 0 | 1;
  /** Parsed when first read. */
  readonly fields: readonly Field[];
  readonly values: ResponseValues;
  /** The fields that are relayed, as they are sent; undefined for an unusual head (`keptOfResponse`). */
  readonly kept: string | undefined;
  /** Where the body ends; depends on the request's method. */
  readonly framing: Framing;
  /** The value of Content-Length, also where there is no body (HEAD, 304). */
  readonly length: number | undefined;
  /** Whether it has Transfer-Encoding, also where there is no body. */
  readonly isChunked: boolean;
  readonly connection: readonly string[];
  /** Whether the worker keeps the connection open after this response. */
  readonly keepAlive: boolean;
}

/** The values of fields that are read of nearly every response; those of `x-ct-*` are of the first field of the name. */
export interface ResponseValues {
  readonly session: string | undefined;
  readonly epoch: string | undefined;
  readonly owner: string | undefined;
  readonly key: string | undefined;
  /** Of all Keep-Alive fields, separated by `,`. */
  readonly keepAlive: string;
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
