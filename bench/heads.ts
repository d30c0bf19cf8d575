/**
 * What does a head cost? CPU of a request's head that is read, routed and forwarded, and of a response's head that is read and
 * relayed, each time a head whose bytes differ from the one before. The peer is the former reader
 * (test/support/former-http1), which made a list of the fields of each head. Limit: half of its time for a
 * browser's request and a worker's response; shorter heads are shown beside them. Interleaved rounds.
 */
import { createTrustedProxies, ForwardingFields } from "../balancer/http1/forwarding.ts";
import { HeadCollector } from "../balancer/http1/head-collector.ts";
import { readKeepAlive } from "../balancer/http1/keep-alive.ts";
import { DEFAULT_HTTP_LIMITS } from "../balancer/http1/limits.ts";
import { parseRequestHead } from "../balancer/http1/request-head.ts";
import { parseResponseHead } from "../balancer/http1/response-head.ts";
import { forwardedHead, relayedHead } from "../balancer/proxy/heads.ts";
import { readWebSocketKey } from "../balancer/proxy/websocket-handshake.ts";
import { findRoute } from "../balancer/routing/session-key.ts";
import { readMark } from "../balancer/upstreams/session-marks.ts";
import { HeadCollector as FormerCollector } from "../test/support/former-http1/head-collector.ts";
import * as formerHeads from "../test/support/former-http1/heads.ts";
import { readKeepAlive as formerKeepAlive } from "../test/support/former-http1/keep-alive.ts";
import { parseRequestHead as formerParseRequest } from "../test/support/former-http1/request-head.ts";
import { parseResponseHead as formerParseResponse } from "../test/support/former-http1/response-head.ts";
import { findRoute as formerRoute } from "../test/support/former-http1/session-key.ts";
import { readMark as formerMark } from "../test/support/former-http1/session-marks.ts";
import { writeResults } from "./support/results.ts";
import { size } from "./support/sizes.ts";
import { type Summary, summarize } from "./support/statistics.ts";

const ROUNDS = size("BENCH_ROUNDS", { long: 9, short: 3 });
const HEADS_PER_ROUND = 50_000;
/** Different heads, read in turn. */
const VARIANTS = 64;

const TRUSTED = createTrustedProxies([]);
const PEER = { remoteAddress: "192.0.2.17", secure: false, requestId: "5f1c02-2s" };
const CLIENT = {
  ...PEER,
  isLastResponse: false,
  forwarding: new ForwardingFields(PEER.remoteAddress, PEER.secure),
};
const UPSTREAM = { host: "10.0.0.5:3001", proof: "A".repeat(43) };

/** As a browser sends it, with 14 fields. */
const BROWSER = `GET /api/meta?n=NNNN HTTP/1.1
Host: edge.example.com
Connection: keep-alive
sec-ch-ua-platform: "Linux"
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36
sec-ch-ua: "Chromium";v="130", "Google Chrome";v="130", "Not?A_Brand";v="99"
sec-ch-ua-mobile: ?0
Accept: */*
Sec-Fetch-Site: same-origin
Sec-Fetch-Mode: cors
Sec-Fetch-Dest: empty
Referer: https://edge.example.com/app/NNNN
Accept-Encoding: gzip, deflate, br, zstd
Accept-Language: en-US,en;q=0.9
Cookie: ctstickiness=aB3dE5fG7hJ9NNNN

`;
const WRK = `GET /NNNN HTTP/1.1
Host: 127.0.0.1:8080
User-Agent: wrk
Accept: */*

`;
const WORKER = `HTTP/1.1 200 OK
Vary: Origin
content-type: application/json; charset=utf-8
cache-control: no-store
x-content-type-options: nosniff
content-length: NNNN
Date: Sat, 28 Nov 2026 12:00:00 GMT
Connection: keep-alive
Keep-Alive: timeout=72

`;
const SMALL = `HTTP/1.1 200 OK
Date: Sat, 28 Nov 2026 12:00:00 GMT
Connection: keep-alive
Keep-Alive: timeout=5
Content-Length: NNNN

`;

type Read = (bytes: Buffer) => number;

/** The length of all results, so that none of the work is dropped. */
const requestCollector = new HeadCollector("downstream");
const readRequest: Read = (bytes) => {
  requestCollector.push(bytes, 0);
  const { textStart } = requestCollector;
  const text = requestCollector.take();
  const head = parseRequestHead(text, DEFAULT_HTTP_LIMITS, false, bytes, textStart);
  const route = findRoute(head);
  const isUpgrade = readWebSocketKey(head) !== undefined;
  const hop = { client: CLIENT, route, upstream: UPSTREAM, trusted: TRUSTED, isUpgrade };
  return flat(forwardedHead(head, hop));
};
const formerRequestCollector = new FormerCollector("downstream");
const readRequestFormerly: Read = (bytes) => {
  formerRequestCollector.push(bytes, 0);
  const head = formerParseRequest(formerRequestCollector.take(), DEFAULT_HTTP_LIMITS, false);
  const route = formerRoute(head);
  const isUpgrade = readWebSocketKey(head) !== undefined;
  const hop = { client: CLIENT, route, upstream: UPSTREAM, trusted: TRUSTED, isUpgrade };
  return flat(formerHeads.forwardedHead(head, hop));
};

const REQUEST = parseRequestHead("GET / HTTP/1.1\r\nHost: h");
const responseCollector = new HeadCollector("upstream");
const readResponse: Read = (bytes) => {
  responseCollector.push(bytes, 0);
  const { textStart } = responseCollector;
  const head = parseResponseHead(responseCollector.take(), "GET", bytes, textStart);
  const max = readKeepAlive(head.values.keepAlive).max;
  const epoch = readMark(head)?.epoch ?? 0;
  const to = { client: CLIENT, request: REQUEST, isBodyComplete: true, isContinued: false };
  return flat(relayedHead(head, to).text) + Math.min(max, 1) + epoch;
};
const formerResponseCollector = new FormerCollector("upstream");
const readResponseFormerly: Read = (bytes) => {
  formerResponseCollector.push(bytes, 0);
  const head = formerParseResponse(formerResponseCollector.take(), "GET");
  const { max } = formerKeepAlive(head.fields);
  const epoch = formerMark(head)?.epoch ?? 0;
  const to = { client: CLIENT, request: REQUEST, isBodyComplete: true, isContinued: false };
  return flat(formerHeads.relayedHead(head, to).text) + Math.min(max, 1) + epoch;
};

const OUT = Buffer.alloc(4096);

/** Copies the text to bytes, as a socket does. */
function flat(text: string): number {
  return OUT.write(text, "latin1");
}

const QUESTIONS: readonly [question: string, head: string, read: Read, former: Read][] = [
  ["request of a browser, 14 fields", BROWSER, readRequest, readRequestFormerly],
  ["request of wrk, 3 fields", WRK, readRequest, readRequestFormerly],
  ["response of a worker, 8 fields", WORKER, readResponse, readResponseFormerly],
  ["response of a small server, 4 fields", SMALL, readResponse, readResponseFormerly],
];

export async function run(): Promise<void> {
  const results: { question: string; unit: string; figures: Record<string, Summary> }[] = [];
  process.stdout.write(
    "head                                  µs   former µs   of it (limit 0.5)\n",
  );
  for (const [question, head, read, former] of QUESTIONS) {
    const heads = Array.from({ length: VARIANTS }, (_, i) => variant(head, i));
    for (const each of heads) check(read(each), former(each));
    const rounds: { now: number[]; former: number[] } = { now: [], former: [] };
    for (let round = 0; round < ROUNDS; round++) {
      rounds.now.push(microsPerHead(read, heads));
      rounds.former.push(microsPerHead(former, heads));
    }
    const figures = { now: summarize(rounds.now), former: summarize(rounds.former) };
    results.push({ question, unit: "µs per head", figures });
    const share = figures.now.median / figures.former.median;
    const numbers = [figures.now.median, figures.former.median, share];
    process.stdout.write(
      `${question.padEnd(38)}${numbers.map((number) => number.toFixed(2).padEnd(9)).join("")}\n`,
    );
  }
  writeResults("heads", results);
}

function variant(head: string, index: number): Buffer {
  const text = head.replaceAll("\n", "\r\n").replaceAll("NNNN", String(1000 + index));
  return Buffer.from(text, "latin1");
}

function check(bytes: number, formerBytes: number): void {
  if (bytes !== formerBytes)
    throw new Error(`${bytes} bytes were written, formerly ${formerBytes}`);
}

function microsPerHead(read: Read, heads: readonly Buffer[]): number {
  const before = process.cpuUsage();
  for (let i = 0; i < HEADS_PER_ROUND; i++) read(heads[i % VARIANTS] as Buffer);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / HEADS_PER_ROUND;
}
