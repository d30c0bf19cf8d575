/**
 * Which fields of a message are forwarded: not those of one connection, those between balancers and workers, and those that the
 * balancer writes itself. Pure.
 */
import { EDGE_HEADER_PREFIX, REQUEST_ID_HEADER } from "../../shared/net/edge-headers.ts";
import type { Field } from "./fields.ts";
import type { RequestHead, ResponseHead } from "./head.ts";

/** Fields of one connection, not of the message (RFC 9110 §7.6.1); all that begin with `proxy-` too. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  // Not an HTTP field, but CGI programs read it as their HTTP_PROXY setting (CVE-2016-5385).
  "proxy",
  "te",
  "transfer-encoding",
  "upgrade",
  // Rewritten from what the head's parser understood.
  "content-length",
  "host",
]);

/**
 * Fields that `Connection: name` cannot remove: otherwise a client could make a balancer and a worker see different
 * keys, hosts or addresses.
 */
const PROTECTED: ReadonlySet<string> = new Set([
  "authorization",
  "content-length",
  "cookie",
  "ctstickiness",
  "forwarded",
  "host",
  "origin",
  "set-cookie",
  "transfer-encoding",
  "x-oct-jwt",
  "x-real-ip",
  REQUEST_ID_HEADER,
]);

/** Fields that describe the client; the balancer writes its own. */
export const FORWARDING: ReadonlySet<string> = new Set([
  "forwarded",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-proto",
  "x-real-ip",
]);

// --- by name ---

/** `list`: other parts of the head decide, so `keptOfRequest` or `keptOfResponse` is asked. */
export type Handling = "keep" | "drop" | "list";

/** `trailer` depends on the framing. A field named `close` is one of the connection when `Connection: close` is sent. */
const DEPENDENT: ReadonlySet<string> = new Set(["close", "trailer"]);

/** Of a field in a head all of whose Connection options are `isUsualOption`. */
export function handlingInRequest(lower: string): Handling {
  if (DEPENDENT.has(lower)) return "list";
  return isOfRequest(lower) && !isOfConnection(lower) ? "keep" : "drop";
}

/** As `handlingInRequest`, for a response. */
export function handlingInResponse(lower: string): Handling {
  if (DEPENDENT.has(lower)) return "list";
  return isOfResponse(lower) && !isOfConnection(lower) ? "keep" : "drop";
}

/** Whether a Connection option names no field that would otherwise be forwarded, except one of `DEPENDENT`. */
export function isUsualOption(option: string): boolean {
  return option === "" || option === "close" || HOP_BY_HOP.has(option);
}

function isOfRequest(lower: string): boolean {
  if (isDisguised(lower) || isPrivate(lower)) return false;
  return !FORWARDING.has(lower) && lower !== REQUEST_ID_HEADER;
}

function isOfResponse(lower: string): boolean {
  return !isPrivate(lower) && lower !== REQUEST_ID_HEADER;
}

function isOfConnection(lower: string): boolean {
  return HOP_BY_HOP.has(lower) || lower.startsWith("proxy-");
}

/** Characters of a field name that CGI, WSGI and PHP replace. */
const OTHER_CHARACTER = /[^a-z0-9-]/;
const OTHER_CHARACTERS = /[^a-z0-9-]/g;

/**
 * Whether programs that turn field names into variable names (CGI, WSGI, PHP) read `lower` as a field that frames, routes
 * or identifies the client. To them `-`, `_` and any other character but letters and digits are the same:
 * `X_Forwarded_For`, `Transfer_Encoding`.
 */
function isDisguised(lower: string): boolean {
  if (!OTHER_CHARACTER.test(lower)) return false;
  const normalized = normalizeName(lower);
  if (isPrivate(normalized) || /^(?:x-forwarded|proxy)-/.test(normalized)) return true;
  return HOP_BY_HOP.has(normalized) || PROTECTED.has(normalized) || FORWARDING.has(normalized);
}

function normalizeName(lower: string): string {
  return lower.replace(OTHER_CHARACTERS, "-");
}

/** Whether a field is between balancers and workers only: it is not forwarded from or to clients. */
function isPrivate(lower: string): boolean {
  return lower.startsWith(EDGE_HEADER_PREFIX);
}

function isHopByHop(lower: string, connection: readonly string[]): boolean {
  if (isOfConnection(lower)) return true;
  if (!connection.includes(lower)) return false;
  return !PROTECTED.has(lower) && !lower.startsWith("x-forwarded-");
}

// --- from the list of a head's fields ---

/** The fields of an unusual request that are forwarded, as they are sent. */
export function keptOfRequest(head: RequestHead): string {
  let text = "";
  for (const field of head.fields) {
    const { lower } = field;
    if (!isOfRequest(lower) || isHopByHop(lower, head.connection)) continue;
    // Only a chunked body has a trailer section.
    if (lower === "trailer" && head.framing.kind !== "chunked") continue;
    // RFC 9110 §10.1.1: Expect from an HTTP/1.0 client is ignored.
    if (lower === "expect" && head.minor === 0) continue;
    text += fieldLine(field);
  }
  return text;
}

/** The fields of an unusual response that are forwarded, as they are sent. */
export function keptOfResponse(head: ResponseHead, isChunked: boolean): string {
  let text = "";
  for (const field of head.fields) {
    const { lower } = field;
    if (!isOfResponse(lower) || isHopByHop(lower, head.connection)) continue;
    if (lower === "trailer" && !isChunked) continue;
    text += fieldLine(field);
  }
  return text;
}

function fieldLine({ name, value }: Field): string {
  return `${name}: ${value}\r\n`;
}

// --- trailers ---

/**
 * Whether a trailer field is forwarded: none that frames, routes, authenticates or controls the message (RFC 9110 §6.5.1).
 */
export function isForwardableTrailer(field: Field): boolean {
  const lower = normalizeName(field.lower);
  if (isPrivate(lower) || HOP_BY_HOP.has(lower) || PROTECTED.has(lower)) return false;
  if (FORWARDING.has(lower) || FORBIDDEN_IN_TRAILERS.has(lower)) return false;
  return !/^(?:proxy-|content-|x-forwarded-|if-|access-control-)/.test(lower);
}

const FORBIDDEN_IN_TRAILERS: ReadonlySet<string> = new Set([
  "age",
  "cache-control",
  "date",
  "expect",
  "expires",
  "location",
  "max-forwards",
  "pragma",
  "range",
  "retry-after",
  "trailer",
  "vary",
  "www-authenticate",
]);
