/**
 * The fields that go to the other side: hop-by-hop ones removed, forwarding ones by policy, ours added, the words between
 * balancers and workers kept from clients. Pure; new lists, nothing is edited in place.
 */

import type { SessionKey } from "../../shared/base/ids.ts";
import {
  EDGE_HEADER,
  EDGE_HEADER_PREFIX,
  KEY_HEADER,
  REQUEST_ID_HEADER,
} from "../../shared/net/edge-headers.ts";
import { checkedField, type Field, makeField } from "./fields.ts";
import { FORWARDING, pushForwarding, type TrustedProxies } from "./forwarding.ts";
import type { Framing } from "./framing.ts";
import type { RequestHead, ResponseHead } from "./head.ts";

/** Fields of one connection, not of the message (RFC 9110 §7.6.1); all that begin with `proxy-` too. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  // No field of HTTP, but CGI programs take it for a setting of their own (CVE-2016-5385).
  "proxy",
  "te",
  "transfer-encoding",
  "upgrade",
  // Written anew from what the head's parser understood.
  "content-length",
  "host",
]);

/**
 * Fields that `Connection: name` cannot take away: a client could otherwise make a balancer and a worker see different
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

/** Fields that mean nothing to a proxy: a short way past the questions below, for most fields of most messages. */
const PLAIN: ReadonlySet<string> = new Set([
  ...["accept", "accept-encoding", "accept-language", "authorization", "cache-control"],
  ...["content-type", "cookie", "ctstickiness", "date", "etag", "last-modified", "location"],
  ...["origin", "pragma", "referer", "server", "set-cookie", "user-agent", "vary", "x-oct-jwt"],
]);

// --- requests ---

/** How a request reaches the worker. */
export interface Hop {
  /** The client's address as the socket says it. */
  readonly peerAddress: string;
  readonly secure: boolean;
  readonly trusted: TrustedProxies;
  readonly requestId: string;
  /** The worker's own `host:port`, for a client of HTTP/1.0 that named no host. */
  readonly workerHost: string;
  /** `x-ct-edge` of the worker that is meant; undefined without a secret. */
  readonly edgeProof: string | undefined;
  /** The key that the client chose by header or path. */
  readonly key: SessionKey | undefined;
  /** Whether it asks for a WebSocket. */
  readonly upgrade: boolean;
}

/** The fields of a request as a worker gets it. */
export function requestHeaders(head: RequestHead, hop: Hop): Field[] {
  const fields: Field[] = [checkedField("Host", "host", head.host ?? hop.workerHost)];
  for (const field of head.fields) {
    if (isKeptOfRequest(field, head)) fields.push(field);
  }
  // A handshake has no body; one that says so by `Content-Length: 0` is one without it to every worker.
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
  // A trailer section is only where there are chunks.
  if (lower === "trailer") return head.framing.kind === "chunked";
  // RFC 9110 §10.1.1: an expectation of an HTTP/1.0 client is ignored.
  return lower !== "expect" || head.minor === 1;
}

/** What a name has that programs with a narrower notion of names replace. */
const OTHER_CHARACTER = /[^a-z0-9-]/;
const OTHER_CHARACTERS = /[^a-z0-9-]/g;

/**
 * Whether programs that make names of variables out of fields (CGI, WSGI, PHP) take it for one that frames, routes or says
 * who the client is, because `_`, or any character but letters and digits, and `-` are the same to them:
 * `X_Forwarded_For`, `Transfer_Encoding`.
 */
function isDisguised(lower: string): boolean {
  if (!OTHER_CHARACTER.test(lower)) return false;
  const read = readNarrowly(lower);
  if (isPrivate(read) || read.startsWith("x-forwarded-") || read.startsWith("proxy-")) return true;
  return HOP_BY_HOP.has(read) || PROTECTED.has(read) || FORWARDING.has(read);
}

function readNarrowly(lower: string): string {
  return lower.replace(OTHER_CHARACTERS, "-");
}

/** What only balancers and workers say to each other: a client can neither send nor see it. */
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

// --- answers ---

/** How an answer reaches the client. */
export interface ResponseHop {
  readonly requestId: string;
  /** How its body is sent; `none` also with HEAD. */
  readonly framing: Framing;
  /** Whether the connection is closed behind it. */
  readonly close: boolean;
  /** The client's minor version: 1.0 has to be told that the connection stays. */
  readonly minor: 0 | 1;
}

/** The fields of an answer as a client gets it. */
export function responseHeaders(head: ResponseHead, hop: ResponseHop): Field[] {
  const fields = keptOfAnswer(head, hop.framing.kind === "chunked");
  pushAnswerFraming(fields, head, hop.framing);
  fields.push(checkedField(REQUEST_ID_HEADER, REQUEST_ID_HEADER, hop.requestId));
  if (hop.close) fields.push(CONNECTION_CLOSE);
  else if (hop.minor === 0) fields.push(CONNECTION_KEEP_ALIVE);
  return fields;
}

/** The fields of an interim answer (1xx). */
export function interimHeaders(head: ResponseHead): Field[] {
  return keptOfAnswer(head, false);
}

/** The fields of the answer that turns a connection into a tunnel. */
export function switchingHeaders(head: ResponseHead, requestId: string): Field[] {
  const fields = keptOfAnswer(head, false);
  fields.push(
    checkedField(REQUEST_ID_HEADER, REQUEST_ID_HEADER, requestId),
    CONNECTION_UPGRADE,
    UPGRADE_WEBSOCKET,
  );
  return fields;
}

function keptOfAnswer(head: ResponseHead, chunked: boolean): Field[] {
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

/** An answer without a body may still say how long it would be (HEAD, 304), but not 1xx and 204 (RFC 9110 §8.6). */
function pushAnswerFraming(fields: Field[], head: ResponseHead, framing: Framing): void {
  if (framing.kind !== "none") pushFraming(fields, framing);
  else if (head.length !== undefined && head.status !== 204) fields.push(lengthField(head.length));
}

/**
 * Whether a trailer field may pass: nothing that frames, routes, authenticates or steers the message (RFC 9110 §6.5.1).
 */
export function isForwardableTrailer(field: Field): boolean {
  const lower = readNarrowly(field.lower);
  if (isPrivate(lower) || HOP_BY_HOP.has(lower) || PROTECTED.has(lower)) return false;
  if (FORWARDING.has(lower) || NOT_IN_TRAILERS.has(lower)) return false;
  return !/^(?:proxy-|content-|x-forwarded-|if-|access-control-)/.test(lower);
}

const NOT_IN_TRAILERS: ReadonlySet<string> = new Set([
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
