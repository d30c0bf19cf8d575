/**
 * Valid traffic of clients and workers, mutated by changing, dropping, repeating, moving and splitting bytes. Pure: the random
 * numbers determine everything.
 */
import { chunked, get, head, ok, post, switching, upgrade } from "../conformance/case.ts";
import type { Random } from "./random.ts";

/** The bytes of one side, each part in a segment of its own, and how it ends. */
export interface Speech {
  readonly parts: readonly string[];
  readonly ends: "open" | "end" | "reset";
}

export function clientSpeech(random: Random): Speech {
  let bytes = "";
  for (let i = random.below(3); i >= 0; i--) bytes += random.pick(REQUESTS)(random);
  if (random.chance(0.85)) bytes = mutate(bytes, random);
  return { parts: split(bytes, random), ends: random.pick(ENDS) };
}

export function workerSpeech(random: Random): Speech {
  let bytes = random.pick(ANSWERS)(random);
  if (random.chance(0.7)) bytes = mutate(bytes, random);
  return { parts: split(bytes, random), ends: random.pick(ENDS) };
}

const ENDS = ["open", "end", "end", "reset"] as const;

const REQUESTS: readonly ((random: Random) => string)[] = [
  () => get(),
  (random) => get(...someFields(random)),
  (random) => post(body(random), ...someFields(random), "Content-Length: 40"),
  (random) => chunked(chunks(random), ...someFields(random)),
  (random) => upgrade(...someFields(random)) + body(random),
  () => head("GET /x HTTP/1.0", "Host: h", "Connection: keep-alive"),
  () => head("HEAD /x HTTP/1.1", "Host: h"),
  () => head("OPTIONS * HTTP/1.1", "Host: h"),
  () => head("GET http://h/a?b HTTP/1.1", "Host: h"),
  () => post("", "Expect: 100-continue", "Content-Length: 40"),
  (random) => head(`GET /k/${random.below(1000)}/x HTTP/1.1`, "Host: h"),
  (random) =>
    head(`POST /api/session/join/${"R".repeat(24)} HTTP/1.1`, "Host: h", ...someFields(random)),
  () => head("GET /socket.io/?sid=0123456789abcdefghijABCDEFGHIJ HTTP/1.1", "Host: h"),
  () => head("GET /ct-health/ HTTP/1.1", "Host: h"),
];

const ANSWERS: readonly ((random: Random) => string)[] = [
  (random) => ok(body(random), ...someFields(random)),
  (random) => head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + chunks(random),
  (random) => head("HTTP/1.1 200 OK") + body(random),
  () => head("HTTP/1.1 204 No Content"),
  () => head("HTTP/1.1 304 Not Modified", "Content-Length: 10"),
  (random) => head("HTTP/1.1 100 Continue") + ok(body(random)),
  (random) => head("HTTP/1.1 103 Early Hints", "Link: <a>") + ok(body(random)),
  (random) => switching(...someFields(random)) + body(random),
  () =>
    head(
      "HTTP/1.1 421 Misdirected Request",
      "x-ct-owner: w1",
      "x-ct-epoch: 3",
      "x-ct-key: k",
      "Content-Length: 0",
    ),
  () => head("HTTP/1.1 421 Misdirected Request", "Content-Length: 0"),
  () => `${head("HTTP/1.0 200 OK", "Connection: keep-alive", "Content-Length: 2")}ab`,
  (random) => ok("", `x-ct-session: ${"S".repeat(24)}`, `x-ct-epoch: ${random.below(5)}`),
];

const FIELDS = [
  "Connection: close",
  "Connection: keep-alive, X-Hop",
  "X-Hop: 1",
  "Cookie: a=b; ctstickiness=c",
  "ctstickiness: key",
  'ctstickiness: "quoted"',
  "x-oct-jwt: eyJhbGciOiJub25lIn0.eyJyb29tIjoiUlJSUlJSUlJSUlJSUlJSUlJSUlJSUlJSIn0.x",
  "X-Forwarded-For: 1.2.3.4",
  "Trailer: X-Sum",
  "TE: trailers",
  "__proto__: x",
  "Set-Cookie: a=b",
] as const;

function someFields(random: Random): string[] {
  return Array.from({ length: random.below(4) }, () => random.pick(FIELDS));
}

function body(random: Random): string {
  return "0123456789".repeat(1 + random.below(5));
}

function chunks(random: Random): string {
  let bytes = "";
  for (let i = random.below(4); i > 0; i--) {
    const data = body(random);
    bytes += `${data.length.toString(16)}${random.chance(0.2) ? ";a=b" : ""}\r\n${data}\r\n`;
  }
  return `${bytes}0\r\n${random.chance(0.3) ? "X-Sum: 1\r\n" : ""}\r\n`;
}

// --- mutation ---

const WORDS = [
  "\r\n",
  "\r\n\r\n",
  "\n",
  "\r",
  "\0",
  " ",
  ":",
  "\t",
  ";",
  ",",
  "\xff",
  "\x0b",
  "Content-Length: 3\r\n",
  "Content-Length: -1\r\n",
  "Transfer-Encoding: chunked\r\n",
  "Transfer-Encoding: gzip\r\n",
  "Host: evil\r\n",
  "Upgrade: h2c\r\n",
  "HTTP/1.1",
  "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
  "0\r\n\r\n",
  "ffffffffffff\r\n",
  "HTTP/1.1 200 OK\r\n",
  "HTTP/1.1 101 Switching Protocols\r\n\r\n",
  "a".repeat(9000),
] as const;

export function mutate(text: string, random: Random): string {
  let bytes = text;
  for (let i = random.below(4); i >= 0; i--) bytes = mutateOnce(bytes, random);
  return bytes;
}

function mutateOnce(bytes: string, random: Random): string {
  const at = random.below(bytes.length + 1);
  const to = Math.min(bytes.length, at + random.below(20));
  switch (random.below(7)) {
    case 0:
      return bytes.slice(0, at) + String.fromCharCode(random.below(256)) + bytes.slice(at + 1);
    case 1:
      return bytes.slice(0, at) + bytes.slice(to);
    case 2:
      return bytes.slice(0, to) + bytes.slice(at);
    case 3:
      return bytes.slice(0, at);
    case 4: {
      const lines = bytes.split("\r\n");
      const moved = lines.splice(random.below(lines.length), 1);
      lines.splice(random.below(lines.length + 1), 0, ...moved);
      return lines.join("\r\n");
    }
    default:
      return bytes.slice(0, at) + random.pick(WORDS) + bytes.slice(at);
  }
}

export function split(bytes: string, random: Random): string[] {
  if (random.chance(0.4)) return [bytes];
  const parts: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const size = random.chance(0.3) ? 1 : 1 + random.below(200);
    parts.push(bytes.slice(at, at + size));
    at += size;
    // The rest is one segment, because thousands of segments would test the machine rather than the parser.
    if (parts.length === 12) {
      parts.push(bytes.slice(at));
      break;
    }
  }
  return parts;
}
