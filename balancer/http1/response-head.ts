/**
 * The text of a response's head, checked (RFC 9112 §4): status line, and where the body ends. Strict: see `head-lines.ts`.
 * Pure.
 */
import { FieldScanner } from "./field-scanner.ts";
import { type Field, HttpSyntaxError } from "./fields.ts";
import { CHUNKED, type Framing, NO_BODY, UNTIL_CLOSE } from "./framing.ts";
import type { ResponseHead, ResponseValues } from "./head.ts";
import { endOfStartLine, MessageFields, parseVersion, readFields } from "./head-lines.ts";
import { DEFAULT_HTTP_LIMITS } from "./limits.ts";

/**
 * Parses the text of a response's head. `requestMethod` decides whether it has a body (RFC 9112 §6.3). The text is also in
 * `bytes`, at `start` (`HeadCollector.textStart`). Throws `HttpSyntaxError`.
 */
export function parseResponseHead(
  text: string,
  requestMethod: string,
  bytes: Buffer = NO_BYTES,
  start = -1,
): ResponseHead {
  return new ParsedResponse(text, requestMethod, bytes, start);
}

const NO_BYTES = Buffer.alloc(0);

/** Its constructor's steps are in the order in which faults are reported. */
class ParsedResponse implements ResponseHead {
  readonly status: number;
  readonly reason: string;
  readonly minor: 0 | 1;
  readonly values: ResponseValues;
  readonly kept: string | undefined;
  readonly framing: Framing;
  readonly length: number | undefined;
  readonly isChunked: boolean;
  readonly connection: readonly string[];
  readonly keepAlive: boolean;
  readonly #text: string;
  #fields: readonly Field[] | undefined = undefined;

  constructor(text: string, requestMethod: string, bytes: Buffer, start: number) {
    this.#text = text;
    const lineEnd = endOfStartLine(text);
    const read = new ResponseFields();
    scanner.begin(text, lineEnd, DEFAULT_HTTP_LIMITS.maxFields, bytes, start);
    const kept = read.readAll();
    const { message } = read;
    const { status, reason, minor } = statusOf(text.slice(0, lineEnd));
    message.check(minor, "upstream");
    this.status = status;
    this.reason = reason;
    this.minor = minor;
    this.values = read;
    this.kept = message.isUsual ? kept : undefined;
    this.framing = framingOf(status, requestMethod, message);
    this.length = message.length;
    this.isChunked = message.isChunked;
    this.connection = message.connection;
    this.keepAlive = this.framing !== UNTIL_CLOSE && message.wantsKeepAlive(minor);
  }

  get fields(): readonly Field[] {
    this.#fields ??= readFields(this.#text, "upstream", Number.POSITIVE_INFINITY);
    return this.#fields;
  }
}

/** One for all heads: each is read without a pause. */
const scanner = new FieldScanner("upstream");

/** Collects the values of one head's fields. */
class ResponseFields implements ResponseValues {
  readonly message = new MessageFields();
  session: string | undefined = undefined;
  epoch: string | undefined = undefined;
  owner: string | undefined = undefined;
  key: string | undefined = undefined;
  keepAlive = "";

  /** Returns what `FieldScanner.finish` does. */
  readAll(): string | undefined {
    for (let name = scanner.next(); name !== undefined; name = scanner.next()) {
      if (name.lower !== "") this.#read(name.lower);
      scanner.handle(name.inResponse);
    }
    return scanner.finish();
  }

  #read(lower: string): void {
    switch (lower) {
      case "content-length":
        this.message.addContentLength(scanner.number);
        break;
      case "connection":
        this.message.addConnection(scanner.value);
        break;
      case "keep-alive":
        this.keepAlive =
          this.keepAlive === "" ? scanner.value : `${this.keepAlive},${scanner.value}`;
        break;
      case "transfer-encoding":
        this.message.addTransferEncoding(scanner.value);
        break;
      case "x-ct-session":
        this.session ??= scanner.value;
        break;
      case "x-ct-epoch":
        this.epoch ??= scanner.value;
        break;
      case "x-ct-owner":
        this.owner ??= scanner.value;
        break;
      case "x-ct-key":
        this.key ??= scanner.value;
        break;
    }
  }
}

const STATUS_LINE = /^(HTTP\/1\.[01]) ([1-5]\d\d) ([\t\x20-\x7e\x80-\xff]*)$/;

interface StatusLine {
  readonly line: string;
  readonly status: number;
  readonly reason: string;
  readonly minor: 0 | 1;
}

/** Most responses have the same status line, so a cache of one entry often hits. */
let last: StatusLine | undefined;

function statusOf(line: string): StatusLine {
  if (line === last?.line) return last;
  const [, version, digits, reason] = STATUS_LINE.exec(line) ?? [];
  if (version === undefined || digits === undefined || reason === undefined) {
    throw new HttpSyntaxError("upstream", 400, "status line");
  }
  const minor = parseVersion(version, "upstream");
  last = { line, status: Number(digits), reason, minor };
  return last;
}

function framingOf(status: number, method: string, message: MessageFields): Framing {
  const isBodiless = status < 200 || status === 204 || status === 304 || method === "HEAD";
  if (isBodiless) return NO_BODY;
  if (message.isChunked) return CHUNKED;
  const { length } = message;
  return length === undefined ? UNTIL_CLOSE : { kind: "length", length };
}
