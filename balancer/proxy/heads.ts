/**
 * The heads that an exchange writes: that of the request for the worker, and those of responses for the client. Pure.
 */
import {
  EDGE_HEADER,
  KEY_HEADER,
  REQUEST_ID_HEADER,
  RESUMABLE_HEADER,
} from "../../shared/net/edge-headers.ts";
import { RESUME_VERSION } from "../../shared/resume/frames.ts";
import type { Client } from "../downstream/exchange-contract.ts";
import { makeField } from "../http1/fields.ts";
import type { TrustedProxies } from "../http1/forwarding.ts";
import { type Framing, UNTIL_CLOSE } from "../http1/framing.ts";
import { type RequestHead, type ResponseHead, requestLine, statusLine } from "../http1/head.ts";
import { keptOfRequest, keptOfResponse } from "../http1/headers.ts";
import type { Route } from "../routing/session-key.ts";
import type { Upstream } from "../upstreams/upstream.ts";

const RESUMABLE = `${RESUMABLE_HEADER}: ${RESUME_VERSION}\r\n`;
const UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\n";

/** As `upstream` gets it. */
export function forwardedHead(
  head: RequestHead,
  hop: {
    readonly client: Pick<Client, "forwarding" | "requestId">;
    readonly route: Pick<Route, "key" | "target">;
    readonly upstream: Pick<Upstream, "host" | "proof">;
    readonly trusted: TrustedProxies;
    readonly isUpgrade: boolean;
    /** Whether the worker may hand the WebSocket over to another one; default: no. */
    readonly isResumable?: boolean;
  },
): string {
  const { client, upstream, route } = hop;
  const { key } = route;
  let text = `${requestLine(head.method, route.target)}\r\nHost: ${head.host ?? upstream.host}\r\n`;
  text += head.kept ?? keptOfRequest(head);
  // A WebSocket handshake has no body, so `Content-Length: 0` is dropped.
  if (!hop.isUpgrade) text += framingLine(head.framing);
  text += client.forwarding.linesFor(head, hop.trusted);
  text += requestIdLine(client.requestId);
  if (upstream.proof !== undefined) text += `${EDGE_HEADER}: ${upstream.proof}\r\n`;
  if (key?.rule === "header" || key?.rule === "path") text += keyLine(key.key);
  if (!hop.isUpgrade) return `${text}\r\n`;
  return `${text}${hop.isResumable === true ? RESUMABLE : ""}${UPGRADE}\r\n`;
}

/** The key that the client sent by header or path. */
function keyLine(key: string): string {
  const { name, value } = makeField(KEY_HEADER, key);
  return `${name}: ${value}\r\n`;
}

function requestIdLine(requestId: string): string {
  return `${REQUEST_ID_HEADER}: ${requestId}\r\n`;
}

function framingLine(framing: Framing): string {
  switch (framing.kind) {
    case "length":
      return lengthLine(framing.length);
    case "chunked":
      return "Transfer-Encoding: chunked\r\n";
    case "none":
    case "until-close":
      return "";
  }
}

function lengthLine(length: number): string {
  return `Content-Length: ${length}\r\n`;
}

/** Whether the worker will hand the WebSocket over when it can. */
export function isResumable(head: ResponseHead): boolean {
  return head.fields.some(
    ({ lower, value }) => lower === RESUMABLE_HEADER && value === String(RESUME_VERSION),
  );
}

export function interimHead(head: ResponseHead): string {
  return `${beginning(head, false)}\r\n`;
}

export function switchingHead(head: ResponseHead, requestId: string): string {
  return `${beginning(head, false)}${requestIdLine(requestId)}${UPGRADE}\r\n`;
}

/** The status line, and the fields of the worker that the client gets. */
function beginning(head: ResponseHead, isChunked: boolean): string {
  const kept = head.kept ?? keptOfResponse(head, isChunked);
  return `${statusLine(head.status, head.reason)}\r\n${kept}`;
}

/** What the client gets, and whether its connection may be used again. */
export function relayedHead(
  head: ResponseHead,
  to: {
    readonly client: Pick<Client, "isLastResponse" | "requestId">;
    readonly request: RequestHead;
    readonly isBodyComplete: boolean;
    /** Whether the client was told to go on with a body that it announced (100). */
    readonly isContinued: boolean;
  },
): { readonly text: string; readonly keepAlive: boolean } {
  const { client, request } = to;
  const framing = clientFraming(head.framing, request);
  const keepAlive =
    request.keepAlive &&
    framing.kind !== "until-close" &&
    !client.isLastResponse &&
    (to.isBodyComplete || !refusesBody(head.status, request, to.isContinued));
  let text = beginning(head, framing.kind === "chunked");
  text += framing.kind === "none" ? lengthWithoutBody(head) : framingLine(framing);
  text += requestIdLine(client.requestId);
  if (!keepAlive) text += "Connection: close\r\n";
  // HTTP/1.0 closes the connection otherwise.
  else if (request.minor === 0) text += "Connection: keep-alive\r\n";
  return { text: `${text}\r\n`, keepAlive };
}

/** A response to HEAD and a 304 keep their Content-Length without a body; 1xx and 204 may not (RFC 9110 §8.6). */
function lengthWithoutBody(head: ResponseHead): string {
  return head.length === undefined || head.status === 204 ? "" : lengthLine(head.length);
}

/** HTTP/1.0 has no chunks (RFC 9112 §7.1): the end of the connection is the end of the body. */
function clientFraming(framing: Framing, request: RequestHead): Framing {
  return framing.kind === "chunked" && request.minor === 0 ? UNTIL_CLOSE : framing;
}

/**
 * Whether a response that begins before the request's body has arrived ends the connection. RFC 9112 §9.6 wants that
 * announced, so that the client sends a request that it has pipelined again. After a refusal the rest of the body is of no
 * use, and a client that was never told to continue may send it or leave it out (RFC 9110 §10.1.1): what comes next could
 * be either. In all other cases both sides stream at the same time, and the rest is read.
 */
function refusesBody(status: number, request: RequestHead, isContinued: boolean): boolean {
  if (status >= 300) return true;
  return !isContinued && request.values.hasExpect;
}
