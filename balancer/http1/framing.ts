/**
 * Where a message's body ends (RFC 9112 §6, §7): an incremental reader for all four framings of requests and responses.
 * Pure: the result does not depend on how the bytes are split.
 */
import type { Piece } from "../transport/transport.ts";
import { type Field, HttpSyntaxError, parseFieldLine, type Sender } from "./fields.ts";
import { DEFAULT_HTTP_LIMITS, type HttpLimits } from "./limits.ts";

export type Framing =
  | { readonly kind: "none" }
  | { readonly kind: "length"; readonly length: number }
  | { readonly kind: "chunked" }
  | { readonly kind: "until-close" };

export const NO_BODY: Framing = { kind: "none" };
export const CHUNKED: Framing = { kind: "chunked" };
export const UNTIL_CLOSE: Framing = { kind: "until-close" };

/** Limit of the extensions in one chunk-size line. */
const MAX_CHUNK_LINE_BYTES = 1024;
const MAX_TRAILER_FIELDS = 64;
/** Hexadecimal digits of a chunk's size: 2^48 bytes is beyond any real chunk, and exact as a number. */
const MAX_SIZE_DIGITS = 12;

const CR = 0x0d;
const LF = 0x0a;
const SEMICOLON = 0x3b;

type State =
  | "data"
  | "size"
  | "extension"
  | "size-lf"
  | "chunk"
  | "chunk-cr"
  | "chunk-lf"
  | "trailer"
  | "trailer-lf"
  | "done";

/** Reads one body: bytes in, chunks to forward out. */
export class BodyReader {
  #framing: Framing;
  readonly #sender: Sender;
  #keepChunks: boolean;
  readonly #mayPass: (trailer: Field) => boolean;
  readonly #limits: HttpLimits;
  #state: State;
  /** Bytes of data that remain in the chunk, or in the body when it has a length. */
  #left: number;
  #digits = 0;
  #lineBytes = 0;
  #extensionBytes = 0;
  #trailerBytes = 0;
  #trailerLine = "";
  #trailerFields = 0;
  #trailers = "";

  /**
   * `keepChunks`: the output is chunked with the same boundaries, without extensions, and with the trailer fields that
   * `mayPass` accepts; otherwise it is the data alone.
   */
  constructor(
    framing: Framing,
    options: {
      sender: Sender;
      keepChunks: boolean;
      mayPass: (trailer: Field) => boolean;
      limits?: HttpLimits;
    },
  ) {
    this.#framing = framing;
    this.#sender = options.sender;
    this.#keepChunks = options.keepChunks;
    this.#mayPass = options.mayPass;
    this.#limits = options.limits ?? DEFAULT_HTTP_LIMITS;
    this.#left = framing.kind === "length" ? framing.length : 0;
    this.#state = startOf(framing);
  }

  /** Begins another body, of the same sender. The one before is complete. */
  begin(framing: Framing, keepChunks: boolean): void {
    this.#framing = framing;
    this.#keepChunks = keepChunks;
    this.#left = framing.kind === "length" ? framing.length : 0;
    this.#digits = 0;
    this.#lineBytes = 0;
    this.#extensionBytes = 0;
    this.#trailerBytes = 0;
    this.#trailerLine = "";
    this.#trailerFields = 0;
    this.#trailers = "";
    this.#state = startOf(framing);
  }

  get done(): boolean {
    return this.#state === "done";
  }

  /**
   * Consumes bytes from `from`, appends what is to be forwarded to `out` (slices of `bytes`, and text), and returns the
   * offset after the last consumed byte: less than the length only when the body is complete. Throws `HttpSyntaxError`.
   */
  read(bytes: Buffer, from: number, out: Piece[]): number {
    let at = from;
    while (at < bytes.length && this.#state !== "done") {
      if (this.#state === "data" || this.#state === "chunk") at = this.#takeData(bytes, at, out);
      else this.#takeByte(bytes[at++] ?? 0, out);
    }
    return at;
  }

  /** The sender closed its side. Returns whether the body is complete. */
  finish(): boolean {
    if (this.#framing.kind === "until-close") this.#state = "done";
    return this.done;
  }

  #takeData(bytes: Buffer, from: number, out: Piece[]): number {
    if (this.#framing.kind === "until-close") {
      out.push(from === 0 ? bytes : bytes.subarray(from));
      return bytes.length;
    }
    const end = Math.min(bytes.length, from + this.#left);
    out.push(bytes.subarray(from, end));
    this.#left -= end - from;
    if (this.#left === 0) this.#state = this.#state === "data" ? "done" : "chunk-cr";
    return end;
  }

  #takeByte(byte: number, out: Piece[]): void {
    switch (this.#state) {
      case "size":
        this.#takeSize(byte);
        break;
      case "extension":
        this.#takeExtension(byte);
        break;
      case "size-lf":
        this.#expect(byte, LF, "chunk size");
        this.#startChunk(out);
        break;
      case "chunk-cr":
        this.#expect(byte, CR, "end of chunk");
        this.#state = "chunk-lf";
        break;
      case "chunk-lf":
        this.#expect(byte, LF, "end of chunk");
        if (this.#keepChunks) out.push("\r\n");
        this.#startSize();
        break;
      case "trailer":
        this.#takeTrailer(byte);
        break;
      case "trailer-lf":
        this.#expect(byte, LF, "trailer");
        this.#endTrailerLine(out);
        break;
      case "data":
      case "chunk":
      case "done":
        break;
    }
  }

  #startSize(): void {
    this.#left = 0;
    this.#digits = 0;
    this.#lineBytes = 0;
    this.#state = "size";
  }

  #takeSize(byte: number): void {
    const digit = hexDigit(byte);
    if (digit >= 0) {
      this.#digits++;
      if (this.#digits > MAX_SIZE_DIGITS) throw this.#bad("chunk size");
      this.#left = this.#left * 16 + digit;
      return;
    }
    // No whitespace here: parsers disagree about a size with whitespace.
    if (this.#digits === 0) throw this.#bad("chunk size");
    if (byte === CR) this.#state = "size-lf";
    else if (byte === SEMICOLON) this.#state = "extension";
    else throw this.#bad("chunk size");
  }

  #takeExtension(byte: number): void {
    this.#lineBytes++;
    this.#extensionBytes++;
    const { maxChunkExtensionBytes } = this.#limits;
    if (this.#lineBytes > MAX_CHUNK_LINE_BYTES || this.#extensionBytes > maxChunkExtensionBytes) {
      throw this.#bad("chunk extensions too long");
    }
    if (byte === CR) this.#state = "size-lf";
    else if (isControl(byte)) throw this.#bad("chunk extension");
  }

  #startChunk(out: Piece[]): void {
    if (this.#left === 0) {
      this.#state = "trailer";
      return;
    }
    if (this.#keepChunks) out.push(`${this.#left.toString(16)}\r\n`);
    this.#state = "chunk";
  }

  #takeTrailer(byte: number): void {
    this.#trailerBytes++;
    if (this.#trailerBytes > this.#limits.maxTrailerBytes) throw this.#bad("trailers too long");
    if (byte === CR) this.#state = "trailer-lf";
    else if (isControl(byte)) throw this.#bad("trailer");
    else this.#trailerLine += String.fromCharCode(byte);
  }

  #endTrailerLine(out: Piece[]): void {
    if (this.#trailerLine === "") {
      if (this.#keepChunks) out.push(`0\r\n${this.#trailers}\r\n`);
      this.#state = "done";
      return;
    }
    if (++this.#trailerFields > MAX_TRAILER_FIELDS) throw this.#bad("too many trailers");
    const field = parseFieldLine(this.#trailerLine, this.#sender);
    if (this.#mayPass(field)) this.#trailers += `${field.name}: ${field.value}\r\n`;
    this.#trailerLine = "";
    this.#state = "trailer";
  }

  #expect(byte: number, expected: number, what: string): void {
    if (byte !== expected) throw this.#bad(what);
  }

  #bad(reason: string): HttpSyntaxError {
    return new HttpSyntaxError(this.#sender, 400, reason);
  }
}

function startOf(framing: Framing): State {
  switch (framing.kind) {
    case "none":
      return "done";
    case "length":
      return framing.length === 0 ? "done" : "data";
    case "chunked":
      return "size";
    case "until-close":
      return "data";
  }
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

function isControl(byte: number): boolean {
  return (byte < 0x20 && byte !== 0x09) || byte === 0x7f;
}
