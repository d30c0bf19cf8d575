/**
 * Everything that the balancer derives from one head, by the present reader and by the former one, which made a list of fields
 * of each head and is kept in test/support/former-http1 for comparison. Both must be the same.
 */
import { HttpSyntaxError } from "../../balancer/http1/fields.ts";
import { createTrustedProxies, ForwardingFields } from "../../balancer/http1/forwarding.ts";
import type { RequestHead, ResponseHead } from "../../balancer/http1/head.ts";
import { HeadCollector } from "../../balancer/http1/head-collector.ts";
import { readKeepAlive } from "../../balancer/http1/keep-alive.ts";
import { parseRequestHead } from "../../balancer/http1/request-head.ts";
import { parseResponseHead } from "../../balancer/http1/response-head.ts";
import { accessLine } from "../../balancer/logs/access-log.ts";
import {
  forwardedHead,
  interimHead,
  relayedHead,
  switchingHead,
} from "../../balancer/proxy/heads.ts";
import { isAccepted, readWebSocketKey } from "../../balancer/proxy/websocket-handshake.ts";
import { findRoute, type Route } from "../../balancer/routing/session-key.ts";
import { readEpoch, readMark } from "../../balancer/upstreams/session-marks.ts";
import { accessLine as formerAccessLine } from "../support/former-http1/access-log.ts";
import { HttpSyntaxError as FormerSyntaxError } from "../support/former-http1/fields.ts";
import type {
  RequestHead as FormerRequest,
  ResponseHead as FormerResponse,
} from "../support/former-http1/head.ts";
import { HeadCollector as FormerCollector } from "../support/former-http1/head-collector.ts";
import * as formerHeads from "../support/former-http1/heads.ts";
import { readKeepAlive as formerKeepAlive } from "../support/former-http1/keep-alive.ts";
import { parseRequestHead as formerParseRequest } from "../support/former-http1/request-head.ts";
import { parseResponseHead as formerParseResponse } from "../support/former-http1/response-head.ts";
import { findRoute as formerRoute } from "../support/former-http1/session-key.ts";
import * as formerMarks from "../support/former-http1/session-marks.ts";
import type { RandomHead } from "./heads.ts";

/** The hops of a request: the same connections for all heads, as in a process. */
const HOPS = [
  { peerAddress: "192.0.2.1", secure: false, proof: "proof" },
  { peerAddress: "2001:db8::1", secure: true, proof: undefined },
  { peerAddress: "10.0.0.1", secure: false, proof: "proof" },
  { peerAddress: "", secure: false, proof: undefined },
].map((hop) => ({ ...hop, forwarding: new ForwardingFields(hop.peerAddress, hop.secure) }));
const TRUSTED = createTrustedProxies(["10.0.0.0/8"]);
const WEBSOCKET_KEY = "dGhlIHNhbXBsZSBub25jZQ==";
const REQUEST_ID = "5f1c02-2s";
const TIME = "25/Nov/2026:19:23:28 +0000";

// --- requests ---

export function readRequest(input: RandomHead): unknown {
  const collector = new HeadCollector("downstream", input.limits);
  return outcomeOf(input, collector, (text, bytes) => {
    const { textStart } = collector;
    const head = parseRequestHead(text, input.limits, false, bytes, textStart);
    return [describe(head), routeOf(head), readWebSocketKey(head), forwardings(head)];
  });
}

export function readFormerRequest(input: RandomHead): unknown {
  return outcomeOf(input, new FormerCollector("downstream", input.limits), (text) => {
    const head = formerParseRequest(text, input.limits, false);
    const key = readWebSocketKey(head);
    return [describe(head), formerRoute(head), key, formerForwardings(head)];
  });
}

function describe(head: FormerRequest): unknown {
  const { line, method, target, minor, fields, host, framing, connection, keepAlive } = head;
  return { line, method, target, minor, fields, host, framing, connection, keepAlive };
}

/** The former reader does not say what a request begins. */
function routeOf(head: RequestHead): Omit<Route, "kind"> {
  const { kind: _, ...route } = findRoute(head);
  return route;
}

function forwardings(head: RequestHead): unknown {
  const route = findRoute(head);
  const isUpgrade = readWebSocketKey(head) !== undefined;
  return HOPS.map(({ peerAddress, proof, forwarding }) => [
    forwardedHead(head, {
      client: { forwarding, requestId: REQUEST_ID },
      route,
      upstream: { host: "w:1", proof },
      trusted: TRUSTED,
      isUpgrade,
    }),
    accessLine(
      { peerAddress, requestLine: head.line, head, status: 200, bodyBytes: 1 },
      TRUSTED,
      TIME,
    ),
  ]);
}

function formerForwardings(head: FormerRequest): unknown {
  const route = formerRoute(head);
  const isUpgrade = readWebSocketKey(head) !== undefined;
  return HOPS.map(({ peerAddress, secure, proof }) => [
    formerHeads.forwardedHead(head, {
      client: { remoteAddress: peerAddress, secure, requestId: REQUEST_ID },
      route,
      upstream: { host: "w:1", proof },
      trusted: TRUSTED,
      isUpgrade,
    }),
    formerAccessLine(
      { peerAddress, requestLine: head.line, fields: head.fields, status: 200, bodyBytes: 1 },
      TRUSTED,
      TIME,
    ),
  ]);
}

// --- responses ---

const METHODS = ["GET", "HEAD"] as const;
const CLIENTS = [
  { request: "GET / HTTP/1.1\r\nHost: h", isBodyComplete: true },
  { request: "GET / HTTP/1.0\r\nConnection: keep-alive", isBodyComplete: true },
  { request: "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue", isBodyComplete: false },
].map(({ request, isBodyComplete }) => ({
  isBodyComplete,
  request: parseRequestHead(request),
  former: formerParseRequest(request),
}));

export function readResponse(input: RandomHead): unknown {
  const collector = new HeadCollector("upstream", input.limits);
  return outcomeOf(input, collector, (text, bytes) =>
    METHODS.map((method) => {
      const head = parseResponseHead(text, method, bytes, collector.textStart);
      const isMisframed = head.length !== undefined || head.isChunked;
      return [describeResponse(head), isMisframed, marksOf(head), relays(head)];
    }),
  );
}

export function readFormerResponse(input: RandomHead): unknown {
  return outcomeOf(input, new FormerCollector("upstream", input.limits), (text) =>
    METHODS.map((method) => {
      const head = formerParseResponse(text, method);
      const isMisframed = head.fields.some(
        ({ lower }) => lower === "content-length" || lower === "transfer-encoding",
      );
      return [describeResponse(head), isMisframed, formerMarksOf(head), formerRelays(head)];
    }),
  );
}

function describeResponse(head: FormerResponse): unknown {
  const { status, reason, minor, fields, framing, length, connection, keepAlive } = head;
  return { status, reason, minor, fields, framing, length, connection, keepAlive };
}

function marksOf(head: ResponseHead): unknown {
  const { owner, key, keepAlive } = head.values;
  const isSwitching = isAccepted(head, WEBSOCKET_KEY);
  return [readMark(head), readEpoch(head), owner, key, readKeepAlive(keepAlive), isSwitching];
}

function formerMarksOf(head: FormerResponse): unknown {
  const [owner, key] = ["x-ct-owner", "x-ct-key"].map((name) => formerMarks.fieldValue(head, name));
  const isSwitching = isAccepted(head, WEBSOCKET_KEY);
  const hint = formerKeepAlive(head.fields);
  return [formerMarks.readMark(head), formerMarks.readEpoch(head), owner, key, hint, isSwitching];
}

function relays(head: ResponseHead): unknown {
  const relayed = CLIENTS.map(({ request, isBodyComplete }) =>
    relayedHead(head, { client: CLIENT, request, isBodyComplete, isContinued: false }),
  );
  return [relayed, interimHead(head), switchingHead(head, REQUEST_ID)];
}

function formerRelays(head: FormerResponse): unknown {
  const relayed = CLIENTS.map(({ former, isBodyComplete }) =>
    formerHeads.relayedHead(head, {
      client: CLIENT,
      request: former,
      isBodyComplete,
      isContinued: false,
    }),
  );
  return [relayed, formerHeads.interimHead(head), formerHeads.switchingHead(head, REQUEST_ID)];
}

const CLIENT = { isLastResponse: false, requestId: REQUEST_ID };

// --- both ---

const BEFORE = "before\r\n";

/** What `parse` returns for the complete head and how much of the bytes it takes, or how it is refused. */
function outcomeOf(
  { parts }: RandomHead,
  collector: Pick<HeadCollector, "push" | "take" | "firstLine" | "started">,
  parse: (text: string, bytes: Buffer) => unknown,
): unknown {
  let read = 0;
  try {
    for (const part of parts) {
      // The head of a later request begins within a read.
      const bytes = Buffer.from(`${BEFORE}${part}`, "latin1");
      const end = collector.push(bytes, BEFORE.length);
      if (end >= 0) return { end: read + end, head: parse(collector.take(), bytes) };
      read += part.length;
    }
    return { isIncomplete: collector.started, line: collector.firstLine() };
  } catch (error) {
    if (!(error instanceof HttpSyntaxError || error instanceof FormerSyntaxError)) throw error;
    const { code, status, reason, message, source } = error;
    return { code, status, reason, message, source, line: collector.firstLine() };
  }
}
