/**
 * One field line of a head or of a trailer section: its grammar, and the check of what we write ourselves. Pure.
 */
import { EdgeError, type ErrorSource } from "../../shared/base/errors.ts";

/** A field as it was received. There is no map of fields: order, repetition and `__proto__` mean nothing special here. */
export interface Field {
  /** As it was written. */
  readonly name: string;
  /** For comparisons. */
  readonly lower: string;
  /** Without blanks around it; bytes as latin1. */
  readonly value: string;
}

/**
 * Bytes that are not HTTP/1.x, or more of them than we take. `status` is what a client is told; when a worker sent them
 * (`source` upstream), a client is told 502 whatever it says.
 */
export class HttpSyntaxError extends EdgeError {
  readonly code: string = "EDGE_HTTP_SYNTAX";
  readonly source: ErrorSource;
  readonly retryable = false;
  readonly status: 400 | 414 | 431;
  /** A few constant words, for a counter's tag. */
  readonly reason: string;

  constructor(
    source: "downstream" | "upstream",
    status: 400 | 414 | 431,
    reason: string,
    message = `${source === "downstream" ? "a client" : "a worker"} sent bad HTTP: ${reason}`,
  ) {
    super(message);
    this.source = source;
    this.status = status;
    this.reason = reason;
  }
}

/** A TCP balancer in front says by a header of its own who the client is. */
export class ProxyProtocolError extends HttpSyntaxError {
  override readonly code = "EDGE_PROXY_PROTOCOL";
  constructor() {
    super(
      "downstream",
      400,
      "PROXY protocol",
      "a client sent a PROXY protocol header, which is not supported; turn it off in the TCP balancer in front " +
        "(send-proxy in HAProxy, proxy_protocol in nginx, a setting of cloud balancers)",
    );
  }
}

/** A client speaks HTTP without TLS to the HTTPS port. */
export class PlainHttpError extends HttpSyntaxError {
  override readonly code = "EDGE_PLAIN_HTTP";
  constructor() {
    super(
      "downstream",
      400,
      "plain HTTP",
      "a client sent plain HTTP to the HTTPS port; use https:// there, or CT_PORT",
    );
  }
}

/** Who sent the bytes: decides what an error says. */
export type Sender = "downstream" | "upstream";

/** RFC 9110 §5.6.2. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** RFC 9110 §5.5: no control byte but the tab, so neither CR, LF nor NUL can stand in a value. */
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

export function isToken(text: string): boolean {
  return TOKEN.test(text);
}

/** Whether `text` can be written as a field's value and is read back the same. */
export function isFieldValue(text: string): boolean {
  return VALUE.test(text) && trimBlanks(text, 0, text.length) === text;
}

/** A field of our own. Throws when it could not be read back: that is a bug, or an attempt to forge a line. */
export function makeField(name: string, value: string): Field {
  if (!isToken(name) || !isFieldValue(value)) throw new TypeError(`bad value for field ${name}`);
  return { name, lower: name.toLowerCase(), value };
}

/** As `makeField`, for a name and a value that are made of checked parts only: nothing is checked again. */
export function checkedField(name: string, lower: string, value: string): Field {
  return { name, lower, value };
}

/**
 * Names that most requests and answers carry, in the spellings of clients, with their lower case. Found here, a name needs no
 * check, and one string stands for all of its occurrences, which makes every later comparison cheap.
 */
const KNOWN_NAMES: ReadonlyMap<string, string> = new Map(
  [
    ...["Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Cache-Control"],
    ...["Connection", "Content-Length", "Content-Type", "Cookie", "Date", "ETag", "Host"],
    ...["Keep-Alive", "Last-Modified", "Location", "Origin", "Pragma", "Referer", "Server"],
    ...["Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site", "Sec-WebSocket-Accept"],
    ...["Sec-WebSocket-Extensions", "Sec-WebSocket-Key", "Sec-WebSocket-Version", "Set-Cookie"],
    ...["Transfer-Encoding", "Upgrade", "User-Agent", "Vary", "X-Forwarded-For"],
    ...["X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "X-Request-ID"],
    ...["ctstickiness", "x-oct-jwt", "x-ct-epoch", "x-ct-session"],
  ].flatMap((name): [string, string][] => {
    const lower = name.toLowerCase();
    return [
      [name, lower],
      [lower, lower],
    ];
  }),
);

/**
 * Reads one line without its CRLF. Strict (RFC 9112 §5.1, §5.2): no blank before the colon, no folding. Throws
 * `HttpSyntaxError`.
 */
export function parseFieldLine(line: string, sender: Sender): Field {
  const first = line.charCodeAt(0);
  if (first === SPACE || first === TAB) throw bad(sender, "folded field");
  const colon = line.indexOf(":");
  if (colon < 0) throw bad(sender, "field without colon");
  const name = line.slice(0, colon);
  const known = KNOWN_NAMES.get(name);
  if (known === undefined && !TOKEN.test(name)) throw bad(sender, "field name");
  const value = trimBlanks(line, colon + 1, line.length);
  if (!VALUE.test(value)) throw bad(sender, "field value");
  return { name, lower: known ?? name.toLowerCase(), value };
}

const SPACE = 0x20;
const TAB = 0x09;

/** By hand: a regular expression with blanks at both ends takes quadratic time on a line of blanks. */
function trimBlanks(text: string, from: number, to: number): string {
  let start = from;
  let end = to;
  while (start < end && isBlank(text.charCodeAt(start))) start++;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

function isBlank(code: number): boolean {
  return code === SPACE || code === TAB;
}

function bad(sender: Sender, reason: string): HttpSyntaxError {
  return new HttpSyntaxError(sender, 400, reason);
}
