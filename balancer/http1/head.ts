/**
 * Bytes to checked heads, and checked heads to bytes (RFC 9112 §2 to §6). Strict: whatever two parsers could read
 * differently is refused, because the difference is how requests are smuggled. Pure.
 */
import {
  type Field,
  HttpSyntaxError,
  isToken,
  ProxyProtocolError,
  parseFieldLine,
  type Sender,
} from "./fields.ts";
import type { Framing } from "./framing.ts";
import { DEFAULT_HTTP_LIMITS, type HttpLimits } from "./limits.ts";

export interface RequestHead {
  /** The request line as received. */
  readonly line: string;
  readonly method: string;
  /** As it goes to the worker: origin-form (an absolute-form's path and query, bytes unchanged), or `*`. */
  readonly target: string;
  /** 1 for HTTP/1.1, 0 for HTTP/1.0. */
  readonly minor: 0 | 1;
  /** As received, in order, with everything that is not forwarded. */
  readonly fields: readonly Field[];
  /** Undefined only in HTTP/1.0. */
  readonly host: string | undefined;
  /** None, length or chunked. */
  readonly framing: Framing;
  /** The options of all Connection fields, in lower case. */
  readonly connection: readonly string[];
  /** Whether the client wants to send another request on this connection. */
  readonly keepAlive: boolean;
}

export interface ResponseHead {
  readonly status: number;
  readonly reason: string;
  readonly minor: 0 | 1;
  readonly fields: readonly Field[];
  /** Where the body ends, given the request's method. */
  readonly framing: Framing;
  /** What Content-Length said, also where there is no body (HEAD, 304). */
  readonly length: number | undefined;
  readonly connection: readonly string[];
  /** Whether the worker keeps the connection open after this answer. */
  readonly keepAlive: boolean;
}

const MAX_METHOD_BYTES = 32;
const MAX_SHOWN_LINE = 2048;
/** Method, two blanks, version, CRLF: what a request line has beside its target. */
const MAX_AROUND_TARGET_BYTES = MAX_METHOD_BYTES + 12;

const CR = 0x0d;
const LF = 0x0a;

/** `PROXY TCP4 …`; a request of a method PROXY has a target there. */
const PROXY_V1 = /^PROXY (?:TCP4|TCP6|UNKNOWN)[ \r]/;
const LETTER_P = 0x50;
/** What every header of version 2 begins with. */
const PROXY_V2 = Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1");
/** Behind two empty lines, with which nothing else begins that is written on purpose. */
const MIN_PROXY_V2_BYTES = 5;

/** Whether `bytes` begin as a header of version 2, as far as they have come. */
function isProxyV2(bytes: Buffer): boolean {
  const come = Math.min(bytes.length, PROXY_V2.length);
  return come >= MIN_PROXY_V2_BYTES && bytes.compare(PROXY_V2, 0, come, 0, come) === 0;
}

// --- from bytes to the text of one head ---

/** Collects the bytes of one head after the other. A verdict does not depend on how the bytes are split. */
export class HeadCollector {
  readonly #sender: Sender;
  readonly #limits: HttpLimits;
  /** What came of a head that is not complete; undefined between heads, so that most heads are never copied. */
  #held: Buffer | undefined;
  #heldBytes = 0;
  /** Offset of the first line, behind an empty line that came before it. */
  #headStart = 0;
  /** Offset of the line that is not complete yet. */
  #lineStart = 0;
  #text = "";

  constructor(sender: Sender, limits: HttpLimits = DEFAULT_HTTP_LIMITS) {
    this.#sender = sender;
    this.#limits = limits;
  }

  /** Whether some bytes of a head have come. */
  get started(): boolean {
    return this.#held !== undefined;
  }

  /**
   * Takes bytes from `from`. Returns the offset after the head when it is complete (then `take` it), else -1. Throws
   * `HttpSyntaxError` on a bare LF and on too long a head.
   */
  push(bytes: Buffer, from: number): number {
    if (this.#held === undefined) {
      const start = from;
      this.#headStart = start;
      this.#lineStart = start;
      const end = this.#scan(bytes, bytes.length, start);
      if (end >= 0) return end;
      this.#hold(bytes, start);
      return -1;
    }
    const before = this.#heldBytes;
    this.#append(bytes, from);
    const end = this.#scan(this.#held, this.#heldBytes, 0);
    if (end < 0) return -1;
    this.#held = undefined;
    return from + end - before;
  }

  /** The text of the complete head: its lines without the blank line, as latin1. */
  take(): string {
    return this.#text;
  }

  /**
   * The first line of the head that was pushed last, as far as it came, but no more than `MAX_SHOWN_LINE` of it: for the
   * log, when the head is refused.
   */
  firstLine(): string {
    if (this.#held !== undefined) this.#keepFirstLine(this.#held, this.#heldBytes);
    return this.#text.split(/\r?\n/, 1)[0] ?? "";
  }

  #keepFirstLine(bytes: Buffer, end: number): void {
    const start = this.#headStart;
    this.#text = bytes.toString("latin1", start, Math.min(end, start + MAX_SHOWN_LINE));
  }

  /** Looks at the lines that are complete; returns the offset after the blank line, or -1. `origin`: where bytes count from. */
  #scan(bytes: Buffer, end: number, origin: number): number {
    try {
      return this.#scanLines(bytes, end, origin);
    } catch (error) {
      this.#keepFirstLine(bytes, end);
      throw error;
    }
  }

  #scanLines(bytes: Buffer, end: number, origin: number): number {
    for (;;) {
      const lf = bytes.indexOf(LF, this.#lineStart);
      const complete = lf >= 0 && lf < end;
      this.#checkLength((complete ? lf + 1 : end) - origin);
      if (!complete) return -1;
      if (this.#lineStart === this.#headStart) this.#checkProxyProtocol(bytes, end, origin);
      if (lf === this.#lineStart || bytes[lf - 1] !== CR) throw this.#bad(400, "bare LF");
      if (lf - 1 === this.#lineStart) {
        if (this.#lineStart !== this.#headStart) {
          this.#text = bytes.toString("latin1", this.#headStart, this.#lineStart - 2);
          return lf + 1;
        }
        // RFC 9112 §2.2: one empty line before a request is to be ignored; a worker has no such excuse.
        if (this.#sender === "upstream" || this.#headStart !== origin) {
          throw this.#bad(400, "empty line");
        }
        this.#headStart = lf + 1;
      }
      this.#lineStart = lf + 1;
    }
  }

  /**
   * Names a PROXY protocol header in front of a request, when its first line is complete. Either version would be refused
   * anyway, as a bad request line or as a second empty line.
   */
  #checkProxyProtocol(bytes: Buffer, end: number, origin: number): void {
    if (this.#sender === "upstream") return;
    const first = bytes[origin];
    if (first === CR && isProxyV2(bytes.subarray(origin, end))) throw new ProxyProtocolError();
    if (first === LETTER_P && PROXY_V1.test(bytes.toString("latin1", origin, origin + 16))) {
      throw new ProxyProtocolError();
    }
  }

  #checkLength(bytes: number): void {
    const { maxHeadBytes, maxTargetBytes } = this.#limits;
    const inFirstLine = this.#lineStart === this.#headStart && this.#sender === "downstream";
    if (inFirstLine && bytes > maxTargetBytes + MAX_AROUND_TARGET_BYTES) {
      throw this.#bad(414, "request line too long");
    }
    if (bytes > maxHeadBytes) throw this.#bad(431, "head too long");
  }

  #hold(bytes: Buffer, from: number): void {
    this.#heldBytes = bytes.length - from;
    this.#held = Buffer.allocUnsafe(Math.max(1024, this.#heldBytes * 2));
    bytes.copy(this.#held, 0, from);
    this.#headStart -= from;
    this.#lineStart -= from;
  }

  /** Appends; never much more than a head may have, because the rest would be refused anyway. */
  #append(bytes: Buffer, from: number): void {
    const taken = Math.min(bytes.length - from, this.#limits.maxHeadBytes + 1 - this.#heldBytes);
    const needed = this.#heldBytes + taken;
    let held = this.#held ?? Buffer.allocUnsafe(needed);
    if (needed > held.length) {
      const larger = Buffer.allocUnsafe(Math.max(needed, held.length * 2));
      held.copy(larger, 0, 0, this.#heldBytes);
      held = larger;
    }
    bytes.copy(held, this.#heldBytes, from, from + taken);
    this.#held = held;
    this.#heldBytes = needed;
  }

  #bad(status: 400 | 414 | 431, reason: string): HttpSyntaxError {
    return new HttpSyntaxError(this.#sender, status, reason);
  }
}

// --- requests ---

/**
 * Checks the text of a request's head (from `HeadCollector.take`). `secure`: it came over TLS. Throws `HttpSyntaxError`.
 */
export function parseRequestHead(
  text: string,
  limits: HttpLimits = DEFAULT_HTTP_LIMITS,
  secure = false,
): RequestHead {
  const { startLine, fields } = parseLines(text, "downstream", limits.maxFields);
  const { method, rawTarget, minor } = parseRequestLine(startLine, limits.maxTargetBytes);
  const meaning = readMeaning(fields, minor, "downstream");
  const { target, authority } = parseTarget(method, rawTarget);
  const host = checkHost(fields, minor, authority, secure);
  return {
    line: startLine,
    method,
    target,
    minor,
    fields,
    host,
    framing: meaning.chunked
      ? { kind: "chunked" }
      : meaning.length === undefined
        ? { kind: "none" }
        : { kind: "length", length: meaning.length },
    connection: meaning.connection,
    keepAlive: wantsKeepAlive(meaning.connection, minor),
  };
}

function parseRequestLine(
  line: string,
  maxTargetBytes: number,
): { method: string; rawTarget: string; minor: 0 | 1 } {
  const first = line.indexOf(" ");
  const last = line.lastIndexOf(" ");
  if (first < 0 || first === last) throw badRequest("request line");
  const method = line.slice(0, first);
  if (method.length > MAX_METHOD_BYTES || !isToken(method)) throw badRequest("method");
  const rawTarget = line.slice(first + 1, last);
  if (rawTarget.length > maxTargetBytes) {
    throw new HttpSyntaxError("downstream", 414, "target too long");
  }
  return { method, rawTarget, minor: parseVersion(line.slice(last + 1), "downstream") };
}

function parseVersion(version: string, sender: Sender): 0 | 1 {
  if (version === "HTTP/1.1") return 1;
  if (version === "HTTP/1.0") return 0;
  throw new HttpSyntaxError(sender, 400, "version");
}

/** Printable ASCII without blank and `#`: browsers leave some characters unescaped that RFC 3986 would escape. */
const TARGET = /^[\x21\x22\x24-\x7e]+$/;
const ABSOLUTE = /^(https?):\/\/([^/?]*)(.*)$/i;

/** What an absolute-form says before its path. */
interface Authority {
  readonly scheme: string;
  /** Host and, if it was written, port. */
  readonly text: string;
}

/** RFC 9112 §3.2. CONNECT is refused: this is no forward proxy. */
function parseTarget(
  method: string,
  raw: string,
): { target: string; authority: Authority | undefined } {
  if (!TARGET.test(raw) || method === "CONNECT") throw badRequest("target");
  if (raw.startsWith("/")) return { target: raw, authority: undefined };
  if (raw === "*" && method === "OPTIONS") return { target: raw, authority: undefined };
  const absolute = ABSOLUTE.exec(raw);
  const [, scheme, text, rest] = absolute ?? [];
  if (scheme === undefined || text === undefined || rest === undefined || !isHost(text)) {
    throw badRequest("target");
  }
  const authority = { scheme: scheme.toLowerCase(), text };
  if (rest === "") return { target: method === "OPTIONS" ? "*" : "/", authority };
  return { target: rest.startsWith("/") ? rest : `/${rest}`, authority };
}

const HOST = /^(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._~!$&'()*+,;=%-]{1,255})(?::\d{0,5})?$/;

/** Whether it is what a Host field may hold: a name or an address, with or without a port (RFC 3986 §3.2.2). */
export function isHost(text: string): boolean {
  return HOST.test(text);
}

/** RFC 9112 §3.2: exactly one valid Host; with an absolute-form the same one. */
function checkHost(
  fields: readonly Field[],
  minor: 0 | 1,
  authority: Authority | undefined,
  secure: boolean,
): string | undefined {
  let host: string | undefined;
  for (const field of fields) {
    if (field.lower !== "host") continue;
    if (host !== undefined) throw badRequest("two Host fields");
    host = field.value;
  }
  if (host === undefined) {
    if (minor === 1) throw badRequest("no Host field");
    return authority?.text;
  }
  if (!isHost(host)) throw badRequest("Host field");
  if (authority !== undefined && !isSameAuthority(authority, host, secure)) {
    throw badRequest("Host differs from the target");
  }
  return host;
}

/**
 * Whether a target and a Host name the same authority: letters in any case, and the scheme's own port written, empty or
 * left out (RFC 9110 §4.2.3). A Host has no scheme of its own, so only the connection's says which port it leaves out.
 */
function isSameAuthority(authority: Authority, host: string, secure: boolean): boolean {
  const [one, other] = [authority.text.toLowerCase(), host.toLowerCase()];
  if (one === other) return true;
  const ownPort = secure ? /:(?:443)?$/ : /:(?:80)?$/;
  const isOwnScheme = authority.scheme === (secure ? "https" : "http");
  return isOwnScheme && one.replace(ownPort, "") === other.replace(ownPort, "");
}

function badRequest(reason: string): HttpSyntaxError {
  return new HttpSyntaxError("downstream", 400, reason);
}

// --- answers ---

const STATUS_LINE = /^(HTTP\/1\.[01]) ([1-5]\d\d) ([\t\x20-\x7e\x80-\xff]*)$/;

/**
 * Checks the text of an answer's head. `requestMethod` decides whether it has a body (RFC 9112 §6.3). Throws
 * `HttpSyntaxError`.
 */
export function parseResponseHead(text: string, requestMethod: string): ResponseHead {
  const { startLine, fields } = parseLines(text, "upstream", DEFAULT_HTTP_LIMITS.maxFields);
  const [, version, digits, reason] = STATUS_LINE.exec(startLine) ?? [];
  if (version === undefined || digits === undefined || reason === undefined) {
    throw new HttpSyntaxError("upstream", 400, "status line");
  }
  const status = Number(digits);
  const minor = parseVersion(version, "upstream");
  const meaning = readMeaning(fields, minor, "upstream");
  const framing = answerFraming(status, requestMethod, meaning);
  return {
    status,
    reason,
    minor,
    fields,
    framing,
    length: meaning.length,
    connection: meaning.connection,
    keepAlive: framing.kind !== "until-close" && wantsKeepAlive(meaning.connection, minor),
  };
}

function answerFraming(status: number, method: string, meaning: Meaning): Framing {
  const bodiless = status < 200 || status === 204 || status === 304 || method === "HEAD";
  if (bodiless) return { kind: "none" };
  if (meaning.chunked) return { kind: "chunked" };
  if (meaning.length !== undefined) return { kind: "length", length: meaning.length };
  return { kind: "until-close" };
}

// --- both ---

/** What the fields that frame a message say. */
interface Meaning {
  readonly chunked: boolean;
  readonly length: number | undefined;
  readonly connection: readonly string[];
}

/** Decimal digits, few enough to be exact as a number. */
const CONTENT_LENGTH = /^\d{1,15}$/;

function readMeaning(fields: readonly Field[], minor: 0 | 1, sender: Sender): Meaning {
  let chunked = false;
  let length: number | undefined;
  let connection: string[] | undefined;
  for (const field of fields) {
    switch (field.lower) {
      case "transfer-encoding":
        // Exactly one coding, once, and never in HTTP/1.0 (RFC 9112 §6.1): all else is how smuggling begins.
        if (chunked || minor === 0 || field.value.toLowerCase() !== "chunked") {
          throw new HttpSyntaxError(sender, 400, "Transfer-Encoding");
        }
        chunked = true;
        break;
      case "content-length":
        if (length !== undefined || !CONTENT_LENGTH.test(field.value)) {
          throw new HttpSyntaxError(sender, 400, "Content-Length");
        }
        length = Number(field.value);
        break;
      case "connection":
        connection ??= [];
        for (const option of field.value.split(",")) connection.push(option.trim().toLowerCase());
        break;
    }
  }
  if (chunked && length !== undefined) {
    throw new HttpSyntaxError(sender, 400, "Content-Length with Transfer-Encoding");
  }
  return { chunked, length, connection: connection ?? NO_OPTIONS };
}

const NO_OPTIONS: readonly string[] = [];

function wantsKeepAlive(connection: readonly string[], minor: 0 | 1): boolean {
  if (connection.includes("close")) return false;
  return minor === 1 || connection.includes("keep-alive");
}

function parseLines(
  text: string,
  sender: Sender,
  maxFields: number,
): { startLine: string; fields: readonly Field[] } {
  const fields: Field[] = [];
  let end = text.indexOf("\r\n");
  if (end < 0) return { startLine: text, fields };
  const startLine = text.slice(0, end);
  while (end < text.length) {
    const start = end + 2;
    end = text.indexOf("\r\n", start);
    if (end < 0) end = text.length;
    if (fields.length === maxFields) throw new HttpSyntaxError(sender, 431, "too many fields");
    fields.push(parseFieldLine(text.slice(start, end), sender));
  }
  return { startLine, fields };
}

// --- from checked parts to text ---

/**
 * A head as it is sent, blank line included. The start line's parts and the fields must come from a parser above or from
 * `makeField`: nothing is checked again here.
 */
export function serializeHead(startLine: string, fields: readonly Field[]): string {
  let text = `${startLine}\r\n`;
  for (const field of fields) text += `${field.name}: ${field.value}\r\n`;
  return `${text}\r\n`;
}

export function requestLine(method: string, target: string): string {
  return `${method} ${target} HTTP/1.1`;
}

/** We answer as HTTP/1.1 whatever the client speaks (RFC 9110 §2.5). */
export function statusLine(status: number, reason: string): string {
  return `HTTP/1.1 ${status} ${reason}`;
}
