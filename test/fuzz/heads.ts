/**
 * Heads of requests and responses: valid ones, hostile spellings, mutated ones and random bytes. Pure: the random numbers
 * determine everything.
 */
import { DEFAULT_HTTP_LIMITS, type HttpLimits } from "../../balancer/http1/limits.ts";
import type { Random } from "./random.ts";
import { mutate, split } from "./traffic.ts";

export interface RandomHead {
  /** The bytes as they arrive, as latin1; the last part may go on behind the head. */
  readonly parts: readonly string[];
  readonly limits: HttpLimits;
}

export function requestHead(random: Random): RandomHead {
  return headOf(random, (isHostile) => requestLine(random, isHostile), REQUEST_FIELDS);
}

export function responseHead(random: Random): RandomHead {
  return headOf(random, (isHostile) => statusLine(random, isHostile), RESPONSE_FIELDS);
}

function headOf(
  random: Random,
  startLine: (isHostile: boolean) => string,
  fields: Fields,
): RandomHead {
  const limits = random.chance(0.9) ? DEFAULT_HTTP_LIMITS : SMALL_LIMITS;
  if (random.chance(0.03)) return { parts: split(randomBytes(random, 300), random), limits };
  const isHostile = random.chance(0.4);
  let bytes = random.chance(0.03) ? "\r\n" : "";
  bytes += startLine(isHostile);
  if (!isHostile || random.chance(0.9)) {
    bytes += `\r\n${letterCase("Host", random)}: ${pick(random, HOSTS, isHostile)}`;
  }
  for (let i = random.below(14); i > 0; i--) {
    bytes += `${lineEnd(random, isHostile)}${fieldLine(random, isHostile, fields)}`;
  }
  if (!isHostile)
    bytes += random.pick(["", "\r\nContent-Length: 12", "\r\nTransfer-Encoding: chunked"]);
  bytes += `${lineEnd(random, isHostile)}\r\n`;
  if (random.chance(0.2)) bytes += "rest\r\n\r\n";
  if (random.chance(0.25)) bytes = mutate(bytes, random);
  return { parts: random.chance(0.05) ? bytes.split("") : split(bytes, random), limits };
}

const SMALL_LIMITS: HttpLimits = {
  ...DEFAULT_HTTP_LIMITS,
  maxHeadBytes: 400,
  maxTargetBytes: 40,
  maxFields: 6,
};

// --- start lines ---

const ROOM = "aB3dE5fG7hJ9kL1mN3pQ5rS7";
const TAGGED = `0123456789abcdef${"Z".repeat(24)}`;
/** Of valid heads, and of hostile ones. */
interface Values {
  readonly valid: readonly string[];
  readonly hostile: readonly string[];
}

function pick(random: Random, { valid, hostile }: Values, isHostile: boolean): string {
  return random.pick(isHostile && random.chance(0.2) ? hostile : valid);
}

const METHODS: Values = {
  valid: ["GET", "GET", "GET", "POST", "HEAD", "OPTIONS", "PUT", "get"],
  hostile: ["CONNECT", "G@T", ""],
};
const PATHS: Values = {
  valid: [
    ...["/", "/", "/a/b?c=d", "//", "/k", "/k/", "/k/key/x?y", "//k//key", "/k/%41%zz/", "/kk/"],
    ...["/k/k%41y/api/session/create", "/api/session/create", "/base/api/session/create/"],
    ...[`/api/session/join/${ROOM}`, `/b//api/session/join//${ROOM}/`, "/api/session/join/short"],
    ...[`/api/session/poll/${ROOM}abc`, "/api/session/poll/x", `/api/login/poll/${TAGGED}?a`],
    ...[`/api/login/git?token=${TAGGED}`, `/api/login/g-callback?x&state=${TAGGED}`, "/api/login/"],
    ...[
      `/socket.io/?EIO=4&sid=${TAGGED}`,
      "/socket.io?sid=short&sid=",
      "/xjoin/a",
      "/join/a",
      "/poll/",
    ],
    ...["/ct-health/", "http://h", "http://H?q", 'http://h/a"b'],
  ],
  hostile: ["*", "https://g/", "/#", "/\x80", "http://", "a", "/a b", "http://h:443/", "join/a"],
};
const VERSIONS: Values = {
  valid: ["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0"],
  hostile: ["HTTP/2.0", "http/1.1", "HTTP/1.1 "],
};
const HOSTS: Values = {
  valid: ["h", "h", "h", "H", "h"],
  hostile: ["h:80", "h:443", "[::1]:8080", "edge.example.com", "", "a b", "h/x"],
};

function requestLine(random: Random, isHostile: boolean): string {
  const space = isHostile && random.chance(0.05) ? random.pick(["  ", "\t", ""]) : " ";
  const method = pick(random, METHODS, isHostile);
  const path = pick(random, PATHS, isHostile);
  return `${method}${space}${path} ${pick(random, VERSIONS, isHostile)}`;
}

const STATUSES: Values = {
  valid: ["200 OK", "200 OK", "204 No Content", "304 Not Modified", "404 ", "421 Misdirected"],
  hostile: ["100 Continue", "101 Switching Protocols", "200", "600 X", "2000 K", "20\t OK"],
};

function statusLine(random: Random, isHostile: boolean): string {
  return `${pick(random, VERSIONS, isHostile)} ${pick(random, STATUSES, isHostile)}`;
}

// --- fields ---

/** Names with values for each. */
type Fields = readonly (readonly [name: string, ...values: string[]])[];

const JWT = `e30.${Buffer.from(JSON.stringify({ room: ROOM })).toString("base64url")}.x`;
const COMMON: Fields = [
  ["Connection", "keep-alive", "close", "Upgrade", "x-hop, Close", "te,,keep-alive", "cookie, x-a"],
  ["Content-Length", "0", "12", "007", "-1", "1, 1", "9999999999999999", ""],
  ["Transfer-Encoding", "chunked", "Chunked", "gzip, chunked", ""],
  ["Keep-Alive", "timeout=5", "timeout=3, max=0", "max=9", "timeout", "=5"],
  ["Upgrade", "websocket", "h2c", "websocket, websocket"],
  ["Trailer", "X-Sum"],
  ["TE", "trailers"],
  ["Close", "1"],
  ["Proxy", "p"],
  ["Proxy-Anything", "p"],
  ["X-Request-ID", "theirs"],
  ["x-hop", "1"],
  ["x-a", "b c", "", "\xe4\xff", "a\tb", '"'],
  ["Accept", "*/*"],
  ["Accept-Encoding", "gzip, deflate, br"],
  ["Cache-Control", "no-cache"],
  ["Content-Type", "text/plain"],
  ["__proto__", "x"],
  ["X-Forwarded-Port", "80"],
  ["x-ct-session", ROOM, "short"],
  ["x-ct-epoch", "7", "x", ""],
  ["x-ct-owner", "w1"],
  ["x-ct-key", "key"],
  ["x-ct-anything", "1"],
];
const REQUEST_FIELDS: Fields = [
  ...COMMON,
  ["Host", "h", "g"],
  ["User-Agent", "Mozilla/5.0 (X11; Linux)", 'a"b', ""],
  ["Referer", "https://e.example/k/secretkey/", "http://h/?token=abc", ""],
  ["Authorization", "Basic YWRhOnNlY3JldA==", "Bearer x", "basic Og=="],
  [
    "Cookie",
    "a=b; ctstickiness=c",
    "ctstickiness=",
    `x; oct-jwt=${JWT}`,
    " ctstickiness = d ;",
    "",
  ],
  ["ctstickiness", "key", '"quoted"', "", "\xe4"],
  ["x-oct-jwt", JWT, "a.b.c", "."],
  ["X-Forwarded-For", "1.2.3.4", "9.9.9.9, 10.0.0.4", "", "unknown"],
  ["X-Forwarded-Host", "edge.example", ""],
  ["X-Forwarded-Proto", "https", "gopher"],
  ["X-Real-IP", "5.6.7.8"],
  ["Forwarded", "for=1.2.3.4;proto=https", 'for="', 'for="[2001:db8::9]:1";host=e', ""],
  ["Expect", "100-continue"],
  ["Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="],
  ["Sec-WebSocket-Version", "13"],
  ["X_Forwarded_For", "6.6.6.6"],
  ["Transfer.Encoding", "chunked"],
];
const RESPONSE_FIELDS: Fields = [
  ...COMMON,
  ["Date", "Sun, 06 Nov 1994 08:49:37 GMT"],
  ["Set-Cookie", "a=b", "c=d; HttpOnly"],
  ["Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="],
  ["Server", "s"],
  ["ETag", '"x"'],
];
/** Names that are valid once, or in certain requests only. */
const FRAMING = /^(?:host|content-length|transfer-encoding)$/i;
const SEPARATORS = [":", ":\t", ":  ", ": \t ", " : ", "", ":\r", ":\n", ": \0"];
const ENDS = [" ", "\t", " \t ", "\x7f", "\x0b", "\r"];
const LINE_ENDS = ["\n", "\r", "\r\r\n", "\r\n ", "\r\n\t", "\n\r\n", "\r\n\r\n"];

function fieldLine(random: Random, isHostile: boolean, fields: Fields): string {
  const [known, ...values] = random.pick(fields);
  let name = letterCase(known, random);
  let value = random.pick(values);
  if (!isHostile) return FRAMING.test(name) ? "x: y" : `${name}: ${value}`;
  if (random.chance(0.15)) name = nearly(name, random);
  if (random.chance(0.05)) value += randomBytes(random, 20);
  const separator = random.chance(0.8) ? ": " : random.pick(SEPARATORS);
  return `${name}${separator}${value}${random.chance(0.1) ? random.pick(ENDS) : ""}`;
}

function letterCase(name: string, random: Random): string {
  switch (random.below(4)) {
    case 0:
      return name.toLowerCase();
    case 1:
      return name.toUpperCase();
    default:
      return name;
  }
}

/** Another name, often with the same length and ends. */
function nearly(name: string, random: Random): string {
  if (random.chance(0.2)) {
    // As long and with such an end that it has the same place in the table of field-names.ts.
    const more = 1 + random.below(4);
    const last = name.toLowerCase().charCodeAt(name.length - 1) - 3 * more;
    return `${name}${"x".repeat(more - 1)}${String.fromCharCode(last)}`;
  }
  const at = random.below(name.length);
  const char = random.chance(0.7)
    ? random.pick(["_", "-", ".", "x", "X", "0"])
    : String.fromCharCode(random.below(256));
  return name.slice(0, at) + char + name.slice(at + random.below(2));
}

function lineEnd(random: Random, isHostile: boolean): string {
  return isHostile && random.chance(0.02) ? random.pick(LINE_ENDS) : "\r\n";
}

function randomBytes(random: Random, limit: number): string {
  let bytes = "";
  for (let i = random.below(limit); i >= 0; i--) bytes += String.fromCharCode(random.below(256));
  return bytes;
}
