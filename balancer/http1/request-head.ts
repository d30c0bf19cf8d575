/**
 * The text of a request's head, checked (RFC 9112 §3): request line, target, Host, framing. Strict: see `head-lines.ts`.
 * Pure.
 */
import { FieldScanner } from "./field-scanner.ts";
import { type Field, HttpSyntaxError, isToken } from "./fields.ts";
import { CHUNKED, type Framing, NO_BODY } from "./framing.ts";
import type { RequestHead, RequestValues } from "./head.ts";
import { endOfStartLine, MessageFields, parseVersion, readFields } from "./head-lines.ts";
import { DEFAULT_HTTP_LIMITS, type HttpLimits, MAX_METHOD_BYTES } from "./limits.ts";

/**
 * Parses the text of a request's head (from `HeadCollector.take`). `secure`: received over TLS. The text is also in `bytes`, at
 * `start` (`HeadCollector.textStart`). Throws `HttpSyntaxError`.
 */
export function parseRequestHead(
  text: string,
  limits: HttpLimits = DEFAULT_HTTP_LIMITS,
  secure = false,
  bytes: Buffer = NO_BYTES,
  start = -1,
): RequestHead {
  return new ParsedRequest(text, limits, secure, bytes, start);
}

const NO_BYTES = Buffer.alloc(0);

/** With the space before it. */
const HTTP_11 = " HTTP/1.1";

/** Its constructor's steps are in the order in which faults are reported. */
class ParsedRequest implements RequestHead {
  readonly line: string;
  readonly method: string;
  readonly target: string;
  readonly minor: 0 | 1;
  readonly values: RequestValues;
  readonly kept: string | undefined;
  readonly host: string | undefined;
  readonly framing: Framing;
  readonly connection: readonly string[];
  readonly keepAlive: boolean;
  readonly #text: string;
  #fields: readonly Field[] | undefined = undefined;

  constructor(text: string, limits: HttpLimits, secure: boolean, bytes: Buffer, start: number) {
    this.#text = text;
    const lineEnd = endOfStartLine(text);
    const line = text.slice(0, lineEnd);
    const read = new RequestFields();
    scanner.begin(text, lineEnd, limits.maxFields, bytes, start);
    const kept = read.readAll();
    const { message } = read;

    const first = line.indexOf(" ");
    const isHttp11 = line.endsWith(HTTP_11);
    const last = isHttp11 ? line.length - HTTP_11.length : line.lastIndexOf(" ");
    if (first < 0 || first === last) throw badRequest("request line");
    this.line = line;
    this.method = parseMethod(line.slice(0, first));
    const raw = line.slice(first + 1, last);
    if (raw.length > limits.maxTargetBytes) {
      throw new HttpSyntaxError("downstream", 414, "target too long");
    }
    this.minor = isHttp11 ? 1 : parseVersion(line.slice(last + 1), "downstream");
    message.check(this.minor, "downstream");
    const authority = parseTarget(this.method, raw);
    this.target = authority?.target ?? raw;
    this.host = checkHost(read, this.minor, authority, secure);

    this.values = read;
    // RFC 9110 §10.1.1: Expect from an HTTP/1.0 client is ignored.
    const isUsual = message.isUsual && (this.minor === 1 || !read.hasExpect);
    this.kept = isUsual ? kept : undefined;
    this.framing = framingOf(message);
    this.connection = message.connection;
    this.keepAlive = message.wantsKeepAlive(this.minor);
  }

  get fields(): readonly Field[] {
    this.#fields ??= readFields(this.#text, "downstream", Number.POSITIVE_INFINITY);
    return this.#fields;
  }
}

/** One for all heads: each is read without a pause. */
const scanner = new FieldScanner("downstream");

/** Collects the values of one head's fields. */
class RequestFields implements RequestValues {
  readonly message = new MessageFields();
  host: string | undefined = undefined;
  hasTwoHosts = false;
  referer: string | undefined = undefined;
  userAgent: string | undefined = undefined;
  authorization: string | undefined = undefined;
  cookies = "";
  keys: readonly string[] = NO_VALUES;
  tokens: readonly string[] = NO_VALUES;
  forwardedFor: string | undefined = undefined;
  hasExpect = false;

  /** Returns what `FieldScanner.finish` does. */
  readAll(): string | undefined {
    for (let name = scanner.next(); name !== undefined; name = scanner.next()) {
      if (name.lower !== "") this.#read(name.lower);
      scanner.handle(name.inRequest);
    }
    return scanner.finish();
  }

  #read(lower: string): void {
    switch (lower) {
      case "host":
        this.hasTwoHosts = this.host !== undefined;
        this.host = scanner.value;
        break;
      case "connection":
        this.message.addConnection(scanner.value);
        break;
      case "user-agent":
        this.userAgent = scanner.value;
        break;
      case "cookie":
        this.cookies = this.cookies === "" ? scanner.value : `${this.cookies};${scanner.value}`;
        break;
      case "referer":
        this.referer = scanner.value;
        break;
      case "content-length":
        this.message.addContentLength(scanner.number);
        break;
      case "transfer-encoding":
        this.message.addTransferEncoding(scanner.value);
        break;
      case "x-oct-jwt":
        this.tokens = [...this.tokens, scanner.value];
        break;
      case "ctstickiness":
        this.keys = [...this.keys, scanner.value];
        break;
      case "authorization":
        this.authorization = scanner.value;
        break;
      case "x-forwarded-for":
        this.forwardedFor = join(this.forwardedFor, scanner.value);
        break;
      case "expect":
        this.hasExpect = true;
        break;
    }
  }
}

const NO_VALUES: readonly string[] = [];

/** RFC 9110 §5.3; a field without a value adds nothing. */
function join(list: string | undefined, value: string): string | undefined {
  if (value === "") return list;
  return list === undefined ? value : `${list}, ${value}`;
}

function framingOf({ isChunked, length }: MessageFields): Framing {
  if (isChunked) return CHUNKED;
  return length === undefined ? NO_BODY : { kind: "length", length };
}

function parseMethod(method: string): string {
  if (method === "GET" || method === "POST") return method;
  if (method.length > MAX_METHOD_BYTES || !isToken(method)) throw badRequest("method");
  return method;
}

/** Printable ASCII without space and `#`: browsers leave some characters unescaped that RFC 3986 would escape. */
const TARGET = /^[\x21\x22\x24-\x7e]+$/;
const SLASH = 0x2f;
const ABSOLUTE = /^(https?):\/\/([^/?]*)(.*)$/i;

/** The parts of an absolute-form. */
interface Absolute {
  /** Its path and query, or `*`. */
  readonly target: string;
  readonly scheme: string;
  /** Host, with the port if there was one. */
  readonly text: string;
}

/** RFC 9112 §3.2. Undefined for a target that is not absolute. CONNECT is refused: this is not a forward proxy. */
function parseTarget(method: string, raw: string): Absolute | undefined {
  if (!TARGET.test(raw) || method === "CONNECT") throw badRequest("target");
  if (raw.charCodeAt(0) === SLASH || (raw === "*" && method === "OPTIONS")) return undefined;
  const absolute = ABSOLUTE.exec(raw);
  const [, scheme, text, rest] = absolute ?? [];
  if (scheme === undefined || text === undefined || rest === undefined || !isHost(text)) {
    throw badRequest("target");
  }
  return { target: targetOf(method, rest), scheme: scheme.toLowerCase(), text };
}

function targetOf(method: string, rest: string): string {
  if (rest === "") return method === "OPTIONS" ? "*" : "/";
  return rest.startsWith("/") ? rest : `/${rest}`;
}

const HOST = /^(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._~!$&'()*+,;=%-]{1,255})(?::\d{0,5})?$/;

/** Whether `text` is a valid Host: a name or an address, with or without a port (RFC 3986 §3.2.2). */
export function isHost(text: string): boolean {
  return HOST.test(text);
}

/** Most requests have the same Host, so a cache of one entry nearly always hits. */
let lastHost: string | undefined;

/** RFC 9112 §3.2: exactly one valid Host, equal to the authority of an absolute-form. */
function checkHost(
  { host, hasTwoHosts }: RequestFields,
  minor: 0 | 1,
  absolute: Absolute | undefined,
  secure: boolean,
): string | undefined {
  if (hasTwoHosts) throw badRequest("two Host fields");
  if (host === undefined) {
    if (minor === 1) throw badRequest("no Host field");
    return absolute?.text;
  }
  if (host !== lastHost) {
    if (!isHost(host)) throw badRequest("Host field");
    lastHost = host;
  }
  if (absolute !== undefined && !isSameAuthority(absolute, host, secure)) {
    throw badRequest("Host differs from the target");
  }
  return host;
}

/**
 * Whether a target and a Host name the same authority. Letter case does not count, and the scheme's default port may be
 * written, empty or omitted (RFC 9110 §4.2.3). Host has no scheme, so the connection's scheme decides its default port.
 */
function isSameAuthority(authority: Absolute, host: string, secure: boolean): boolean {
  const [one, other] = [authority.text.toLowerCase(), host.toLowerCase()];
  if (one === other) return true;
  const defaultPort = secure ? /:(?:443)?$/ : /:(?:80)?$/;
  const isSameScheme = authority.scheme === (secure ? "https" : "http");
  return isSameScheme && one.replace(defaultPort, "") === other.replace(defaultPort, "");
}

function badRequest(reason: string): HttpSyntaxError {
  return new HttpSyntaxError("downstream", 400, reason);
}
