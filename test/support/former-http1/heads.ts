/**
 * The heads that an exchange writes: that of the request for the worker, and those of responses for the client. Pure.
 */

import type { Client } from "../../../balancer/downstream/exchange-contract.ts";
import type { Framing } from "../../../balancer/http1/framing.ts";
import type { Upstream } from "../../../balancer/upstreams/upstream.ts";
import type { TrustedProxies } from "./forwarding.ts";
import {
  type RequestHead,
  type ResponseHead,
  requestLine,
  serializeHead,
  statusLine,
} from "./head.ts";
import { interimHeaders, requestHeaders, responseHeaders, switchingHeaders } from "./headers.ts";
import type { Route } from "./session-key.ts";

/** The members of `Client` that this reads. */
interface FormerClient {
  readonly requestId: string;
  readonly remoteAddress: string;
  readonly secure: boolean;
}

/** As `upstream` gets it. */
export function forwardedHead(
  head: RequestHead,
  hop: {
    readonly client: FormerClient;
    readonly route: Route;
    readonly upstream: Pick<Upstream, "host" | "proof">;
    readonly trusted: TrustedProxies;
    readonly isUpgrade: boolean;
  },
): string {
  const { client, upstream, route } = hop;
  const { key } = route;
  const headers = requestHeaders(head, {
    peerAddress: client.remoteAddress,
    secure: client.secure,
    trusted: hop.trusted,
    requestId: client.requestId,
    workerHost: upstream.host,
    edgeProof: upstream.proof,
    key: key?.rule === "header" || key?.rule === "path" ? key.key : undefined,
    upgrade: hop.isUpgrade,
  });
  return serializeHead(requestLine(head.method, route.target), headers);
}

export function interimHead(head: ResponseHead): string {
  return serializeHead(statusLine(head.status, head.reason), interimHeaders(head));
}

export function switchingHead(head: ResponseHead, requestId: string): string {
  return serializeHead(statusLine(head.status, head.reason), switchingHeaders(head, requestId));
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
  const headers = responseHeaders(head, {
    requestId: client.requestId,
    framing,
    close: !keepAlive,
    minor: request.minor,
  });
  return { text: serializeHead(statusLine(head.status, head.reason), headers), keepAlive };
}

/** HTTP/1.0 has no chunks (RFC 9112 §7.1): the end of the connection is the end of the body. */
function clientFraming(framing: Framing, request: RequestHead): Framing {
  return framing.kind === "chunked" && request.minor === 0 ? { kind: "until-close" } : framing;
}

/**
 * Whether a response that begins before the request's body has arrived ends the connection. RFC 9112 §9.6 wants that
 * announced, so that the client sends a request that it has pipelined again. After a refusal the rest of the body is of no
 * use, and a client that was never told to continue may send it or leave it out (RFC 9110 §10.1.1): what comes next could
 * be either. In all other cases both sides stream at the same time, and the rest is read.
 */
function refusesBody(status: number, request: RequestHead, isContinued: boolean): boolean {
  if (status >= 300) return true;
  return !isContinued && request.fields.some(({ lower }) => lower === "expect");
}
