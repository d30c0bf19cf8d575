/**
 * One field line of a head or of a trailer section: parsing it, and making one that cannot forge another. Pure.
 */
import { EdgeError } from "../../../shared/base/errors.ts";

/** A field as received. Fields are a list, not a map: it keeps order and repetition, and `__proto__` is a name like others. */
export interface Field {
  /** As received. */
  readonly name: string;
  /** In lower case, for comparisons. */
  readonly lower: string;
  /** Without surrounding whitespace; bytes as latin1. */
  readonly value: string;
}

/**
 * Bytes that are not HTTP/1.x, or beyond a limit. The client gets `status`; when a worker sent the bytes (`source`
 * upstream), the client gets 502 instead.
 */
export class HttpSyntaxError extends EdgeError {
  readonly code: string = "EDGE_HTTP_SYNTAX";
  readonly source: Sender;
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

/** A TCP load balancer in front sends its PROXY protocol header, which names the client. */
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

/** Who sent the bytes; the error names it as its source. */
export type Sender = "downstream" | "upstream";

/** RFC 9110 §5.6.2. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** RFC 9110 §5.5: no control byte but tab, so a value cannot contain CR, LF or NUL. */
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

export function isToken(text: string): boolean {
  return TOKEN.test(text);
}

/** Whether `text` written as a field's value is parsed back unchanged. */
export function isFieldValue(text: string): boolean {
  return VALUE.test(text) && trimBlanks(text, 0, text.length) === text;
}

/** A field that the balancer adds. Throws when it would not be parsed back unchanged: a bug, or an attempt to forge a line. */
export function makeField(name: string, value: string): Field {
  if (!isToken(name) || !isFieldValue(value)) throw new TypeError(`bad value for field ${name}`);
  return { name, lower: name.toLowerCase(), value };
}

/** As `makeField`, unchecked: for a name and a value made only of checked parts. */
export function checkedField(name: string, lower: string, value: string): Field {
  return { name, lower, value };
}

/**
 * Common names in the spellings of clients, with their lower case. A name found here needs no check, and all of its
 * occurrences share one string, which makes later comparisons cheap.
 */
const COMMON_NAMES: ReadonlyMap<string, string> = new Map(
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
 * Parses one line without its CRLF. Strict (RFC 9112 §5.1, §5.2): no whitespace before the colon, no folding. Throws
 * `HttpSyntaxError`.
 */
export function parseFieldLine(line: string, sender: Sender): Field {
  const first = line.charCodeAt(0);
  if (first === SPACE || first === TAB) throw bad(sender, "folded field");
  const colon = line.indexOf(":");
  if (colon < 0) throw bad(sender, "field without colon");
  const name = line.slice(0, colon);
  const lower = COMMON_NAMES.get(name);
  if (lower === undefined && !TOKEN.test(name)) throw bad(sender, "field name");
  const value = trimBlanks(line, colon + 1, line.length);
  if (!VALUE.test(value)) throw bad(sender, "field value");
  return { name, lower: lower ?? name.toLowerCase(), value };
}

const SPACE = 0x20;
const TAB = 0x09;

/** By hand: a regular expression that trims both ends takes quadratic time on a line of blanks. */
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
