/**
 * From received bytes to the text of one head. Refuses a bare LF, an overlong head and a PROXY protocol header.
 */
import { HttpSyntaxError, ProxyProtocolError, type Sender } from "./fields.ts";
import { DEFAULT_HTTP_LIMITS, type HttpLimits, MAX_METHOD_BYTES } from "./limits.ts";

const MAX_LOGGED_LINE_BYTES = 2048;
/** Method, two spaces, version, CRLF: a request line without its target. */
const MAX_AROUND_TARGET_BYTES = MAX_METHOD_BYTES + 12;

const CR = 0x0d;
const LF = 0x0a;

/** Collects the bytes of one head after the other. However they are split, the same heads are accepted. */
export class HeadCollector {
  readonly #sender: Sender;
  readonly #limits: HttpLimits;
  /** The bytes of an incomplete head; undefined between heads, so that a head in one read is not copied. */
  #held: Buffer | undefined;
  #heldBytes = 0;
  /** Offset of the first line, after the empty line that may precede it. */
  #headStart = 0;
  /** Offset of the incomplete line. */
  #lineStart = 0;
  #text = "";
  #textStart = -1;

  constructor(sender: Sender, limits: HttpLimits = DEFAULT_HTTP_LIMITS) {
    this.#sender = sender;
    this.#limits = limits;
  }

  /** Whether a head is partly received. */
  get started(): boolean {
    return this.#held !== undefined;
  }

  /**
   * Consumes bytes from `from`. Returns the offset after the head when it is complete (read it with `take`), else -1.
   * Throws `HttpSyntaxError` on a bare LF, a misplaced empty line, a PROXY protocol header and an overlong head.
   */
  push(bytes: Buffer, from: number): number {
    if (this.#held === undefined) {
      const start = from;
      this.#headStart = start;
      this.#lineStart = start;
      const end = this.#scan(bytes, bytes.length, start);
      this.#textStart = this.#headStart;
      if (end >= 0) return end;
      this.#hold(bytes, start);
      return -1;
    }
    this.#textStart = -1;
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

  /** Where `take` begins in the bytes that completed the head; -1 when a part of it came earlier. */
  get textStart(): number {
    return this.#textStart;
  }

  /**
   * The received part of the last head's first line, at most `MAX_LOGGED_LINE_BYTES` of it: for the log, when the head is
   * refused.
   */
  firstLine(): string {
    if (this.#held !== undefined) this.#keepFirstLine(this.#held, this.#heldBytes);
    return this.#text.split(/\r?\n/, 1)[0] ?? "";
  }

  #keepFirstLine(bytes: Buffer, end: number): void {
    const start = this.#headStart;
    this.#text = bytes.toString("latin1", start, Math.min(end, start + MAX_LOGGED_LINE_BYTES));
  }

  /** Checks the complete lines; returns the offset after the blank line, or -1. `origin`: where the head's bytes begin. */
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
        // RFC 9112 §2.2: one empty line before a request is ignored; before a response none is allowed.
        if (this.#sender === "upstream" || this.#headStart !== origin) {
          throw this.#bad(400, "empty line");
        }
        this.#headStart = lf + 1;
      }
      this.#lineStart = lf + 1;
    }
  }

  /**
   * Recognizes a PROXY protocol header in front of a request, when its first line is complete. Either version would be
   * refused anyway, as a bad request line or a second empty line; this gives the error that names the cure.
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

  /** Appends at most one byte more than a head may have: `#scan` refuses it then. */
  #append(bytes: Buffer, from: number): void {
    const added = Math.min(bytes.length - from, this.#limits.maxHeadBytes + 1 - this.#heldBytes);
    const needed = this.#heldBytes + added;
    let held = this.#held ?? Buffer.allocUnsafe(needed);
    if (needed > held.length) {
      const larger = Buffer.allocUnsafe(Math.max(needed, held.length * 2));
      held.copy(larger, 0, 0, this.#heldBytes);
      held = larger;
    }
    bytes.copy(held, this.#heldBytes, from, from + added);
    this.#held = held;
    this.#heldBytes = needed;
  }

  #bad(status: 400 | 414 | 431, reason: string): HttpSyntaxError {
    return new HttpSyntaxError(this.#sender, status, reason);
  }
}

// --- the PROXY protocol ---

/** `PROXY TCP4 …`. A request whose method is PROXY has a target in the second place. */
const PROXY_V1 = /^PROXY (?:TCP4|TCP6|UNKNOWN)[ \r]/;
const LETTER_P = 0x50;
/** The signature of version 2. */
const PROXY_V2 = Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1");
/** Two empty lines and NUL. A read that ends exactly after the two empty lines is refused as an empty line instead. */
const MIN_PROXY_V2_BYTES = 5;

/** Whether `bytes` agree with the signature of version 2, as far as they were received. */
function isProxyV2(bytes: Buffer): boolean {
  const received = Math.min(bytes.length, PROXY_V2.length);
  return received >= MIN_PROXY_V2_BYTES && bytes.compare(PROXY_V2, 0, received, 0, received) === 0;
}
