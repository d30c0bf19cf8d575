/**
 * The fields of a forwarded message: hop-by-hop ones removed, forwarding ones by policy, the balancer's own added, those
 * between balancers and workers hidden from clients. Pure; returns new lists.
 */

import type { Framing } from "../../../balancer/http1/framing.ts";
import type { SessionKey } from "../../../shared/base/ids.ts";
import {
  EDGE_HEADER,
  EDGE_HEADER_PREFIX,
  KEY_HEADER,
  REQUEST_ID_HEADER,
} from "../../../shared/net/edge-headers.ts";
import { checkedField, type Field, makeField } from "./fields.ts";
import { FORWARDING, pushForwarding, type TrustedProxies } from "./forwarding.ts";
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

/** Fields with no meaning to a proxy: they skip the checks below, and are most fields of most messages. */
const PLAIN: ReadonlySet<string> = new Set([
  ...["accept", "accept-encoding", "accept-language", "authorization", "cache-control"],
  ...["content-type", "cookie", "ctstickiness", "date", "etag", "last-modified", "location"],
  ...["origin", "pragma", "referer", "server", "set-cookie", "user-agent", "vary", "x-oct-jwt"],
]);

// --- requests ---

/** What the balancer adds to a request for one worker. */
interface Hop {
  /** The remote address of the client's socket. */
  readonly peerAddress: string;
  readonly secure: boolean;
  readonly trusted: TrustedProxies;
  readonly requestId: string;
  /** The worker's `host:port`, for an HTTP/1.0 request without Host. */
  readonly workerHost: string;
  /** `x-ct-edge` for this worker; undefined without a secret. */
  readonly edgeProof: string | undefined;
  /** The key that the client sent by header or path. */
  readonly key: SessionKey | undefined;
  /** Whether the request is a WebSocket handshake. */
  readonly upgrade: boolean;
}

/** The fields of a request to a worker. */
export function requestHeaders(head: RequestHead, hop: Hop): Field[] {
  const fields: Field[] = [checkedField("Host", "host", head.host ?? hop.workerHost)];
  for (const field of head.fields) {
    if (isKeptOfRequest(field, head)) fields.push(field);
  }
  // A WebSocket handshake has no body, so `Content-Length: 0` is dropped.
  if (!hop.upgrade) pushFraming(fields, head.framing);
  pushForwarding(fields, head, hop);
  fields.push(checkedField(REQUEST_ID_HEADER, REQUEST_ID_HEADER, hop.requestId));
  if (hop.edgeProof !== undefined) {
    fields.push(checkedField(EDGE_HEADER, EDGE_HEADER, hop.edgeProof));
  }
  if (hop.key !== undefined) fields.push(makeField(KEY_HEADER, hop.key));
  if (hop.upgrade) fields.push(CONNECTION_UPGRADE, UPGRADE_WEBSOCKET);
  return fields;
}

const CONNECTION_UPGRADE = makeField("Connection", "Upgrade");
const UPGRADE_WEBSOCKET = makeField("Upgrade", "websocket");
const CONNECTION_CLOSE = makeField("Connection", "close");
const CONNECTION_KEEP_ALIVE = makeField("Connection", "keep-alive");
const CHUNKED = makeField("Transfer-Encoding", "chunked");

function isKeptOfRequest(field: Field, head: RequestHead): boolean {
  const { lower } = field;
  if (PLAIN.has(lower)) return head.connection.length === 0 || !isHopByHop(lower, head.connection);
  if (isDisguised(lower)) return false;
  if (isPrivate(lower) || FORWARDING.has(lower) || lower === REQUEST_ID_HEADER) return false;
  if (isHopByHop(lower, head.connection)) return false;
  // Only a chunked body has a trailer section.
  if (lower === "trailer") return head.framing.kind === "chunked";
  // RFC 9110 §10.1.1: Expect from an HTTP/1.0 client is ignored.
  return lower !== "expect" || head.minor === 1;
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
  if (HOP_BY_HOP.has(lower) || lower.startsWith("proxy-")) return true;
  if (connection.length === 0 || !connection.includes(lower)) return false;
  return !PROTECTED.has(lower) && !lower.startsWith("x-forwarded-");
}

function pushFraming(fields: Field[], framing: Framing): void {
  switch (framing.kind) {
    case "length":
      fields.push(lengthField(framing.length));
      break;
    case "chunked":
      fields.push(CHUNKED);
      break;
    case "none":
    case "until-close":
      break;
  }
}

function lengthField(length: number): Field {
  return checkedField("Content-Length", "content-length", String(length));
}

// --- responses ---

/** What the balancer adds to a response. */
interface ResponseHop {
  readonly requestId: string;
  /** Of the body as it is sent; `none` for HEAD too. */
  readonly framing: Framing;
  /** Whether the connection is closed after the response. */
  readonly close: boolean;
  /** The client's minor version: HTTP/1.0 needs `Connection: keep-alive`. */
  readonly minor: 0 | 1;
}

/** The fields of a response to a client. */
export function responseHeaders(head: ResponseHead, hop: ResponseHop): Field[] {
  const fields = keptOfResponse(head, hop.framing.kind === "chunked");
  pushResponseFraming(fields, head, hop.framing);
  fields.push(checkedField(REQUEST_ID_HEADER, REQUEST_ID_HEADER, hop.requestId));
  if (hop.close) fields.push(CONNECTION_CLOSE);
  else if (hop.minor === 0) fields.push(CONNECTION_KEEP_ALIVE);
  return fields;
}

/** The fields of an interim response (1xx). */
export function interimHeaders(head: ResponseHead): Field[] {
  return keptOfResponse(head, false);
}

/** The fields of the 101 response that turns a connection into a tunnel. */
export function switchingHeaders(head: ResponseHead, requestId: string): Field[] {
  const fields = keptOfResponse(head, false);
  fields.push(
    checkedField(REQUEST_ID_HEADER, REQUEST_ID_HEADER, requestId),
    CONNECTION_UPGRADE,
    UPGRADE_WEBSOCKET,
  );
  return fields;
}

function keptOfResponse(head: ResponseHead, chunked: boolean): Field[] {
  const fields: Field[] = [];
  for (const field of head.fields) {
    const { lower } = field;
    if (head.connection.length === 0 && PLAIN.has(lower)) {
      fields.push(field);
      continue;
    }
    if (isPrivate(lower) || isHopByHop(lower, head.connection)) continue;
    if (lower === REQUEST_ID_HEADER || (lower === "trailer" && !chunked)) continue;
    fields.push(field);
  }
  return fields;
}

/** A response to HEAD and a 304 keep their Content-Length without a body; 1xx and 204 may not (RFC 9110 §8.6). */
function pushResponseFraming(fields: Field[], head: ResponseHead, framing: Framing): void {
  if (framing.kind !== "none") pushFraming(fields, framing);
  else if (head.length !== undefined && head.status !== 204) fields.push(lengthField(head.length));
}
