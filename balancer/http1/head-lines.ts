/**
 * What the heads of requests and of responses have in common: their lines, the version, and the fields that say where the
 * message and the connection end. Strict: what two parsers could read differently is refused, because that difference
 * is how requests are smuggled. Pure.
 */
import { type Field, HttpSyntaxError, parseFieldLine, type Sender } from "./fields.ts";
import { isUsualOption } from "./headers.ts";

const LF = 0x0a;

/** Where the start line ends. */
export function endOfStartLine(text: string): number {
  let end = text.indexOf("\r");
  if (end >= 0 && text.charCodeAt(end + 1) !== LF) end = text.indexOf("\r\n", end);
  return end < 0 ? text.length : end;
}

/** The fields of a head as a list. Throws `HttpSyntaxError`. */
export function readFields(text: string, sender: Sender, maxFields: number): readonly Field[] {
  const fields: Field[] = [];
  let end = endOfStartLine(text);
  while (end < text.length) {
    const start = end + 2;
    end = text.indexOf("\r\n", start);
    if (end < 0) end = text.length;
    if (fields.length === maxFields) throw new HttpSyntaxError(sender, 431, "too many fields");
    fields.push(parseFieldLine(text.slice(start, end), sender));
  }
  return fields;
}

export function parseVersion(version: string, sender: Sender): 0 | 1 {
  if (version === "HTTP/1.1") return 1;
  if (version === "HTTP/1.0") return 0;
  throw new HttpSyntaxError(sender, 400, "version");
}

/** The fields that say where the message and the connection end, added in the order of the head. */
export class MessageFields {
  isChunked = false;
  length: number | undefined = undefined;
  /** The options of all Connection fields, in lower case. */
  connection: readonly string[] = NO_OPTIONS;
  /** Whether no Connection option removes a field (`isUsualOption`). */
  isUsual = true;
  /** The first fault; reported by `check`, because faults of the start line come first. */
  #fault: string | undefined = undefined;
  /** Whether the fault in HTTP/1.0 is that there is a Transfer-Encoding. */
  #beginsWithCoding = false;

  addTransferEncoding(value: string): void {
    if (this.#fault !== undefined) return;
    this.#beginsWithCoding = true;
    // Exactly one coding, once (RFC 9112 §6.1): anything else allows smuggling.
    if (this.isChunked || (value !== "chunked" && value.toLowerCase() !== "chunked")) {
      this.#fault = "Transfer-Encoding";
    }
    this.isChunked = true;
  }

  /** `length`: -1 when the value is not one number. */
  addContentLength(length: number): void {
    if (this.#fault !== undefined) return;
    if (this.length !== undefined || length < 0) this.#fault = "Content-Length";
    else this.length = length;
  }

  addConnection(value: string): void {
    const options = optionsOf(value);
    this.connection = this.connection === NO_OPTIONS ? options : [...this.connection, ...options];
    this.isUsual = this.isUsual && (options === KEEP_ALIVE || options.every(isUsualOption));
  }

  /** Throws `HttpSyntaxError` unless it is certain where the message ends. */
  check(minor: 0 | 1, sender: Sender): void {
    // Never in HTTP/1.0 (RFC 9112 §6.1).
    const fault = minor === 0 && this.#beginsWithCoding ? "Transfer-Encoding" : this.#fault;
    if (fault !== undefined) throw new HttpSyntaxError(sender, 400, fault);
    if (this.isChunked && this.length !== undefined) {
      throw new HttpSyntaxError(sender, 400, "Content-Length with Transfer-Encoding");
    }
  }

  wantsKeepAlive(minor: 0 | 1): boolean {
    const { connection } = this;
    if (connection === NO_OPTIONS || connection === KEEP_ALIVE) {
      return minor === 1 || connection === KEEP_ALIVE;
    }
    if (connection.includes("close")) return false;
    return minor === 1 || connection.includes("keep-alive");
  }
}

const NO_OPTIONS: readonly string[] = [];
const KEEP_ALIVE: readonly string[] = ["keep-alive"];

function optionsOf(value: string): readonly string[] {
  if (value === "keep-alive") return KEEP_ALIVE;
  return value.split(",").map((option) => option.trim().toLowerCase());
}
