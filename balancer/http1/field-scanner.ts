/**
 * Reads the field lines of a head one after the other, checks them, and collects those that are forwarded as text: the usual
 * head needs no object per field. A line that is refused is parsed again by `parseFieldLine`, which names the reason.
 */
import { type FieldName, findFieldName, kindAt } from "./field-names.ts";
import { HttpSyntaxError, parseFieldLine, type Sender } from "./fields.ts";
import { readFields } from "./head-lines.ts";
import type { Handling } from "./headers.ts";

const TAB = 0x09;
const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const DIGIT_0 = 0x30;
const COLON = 0x3a;
const DEL = 0x7f;

const MAX_DIGITS = 15;
const NO_BYTES = Buffer.alloc(0);

export class FieldScanner {
  readonly #sender: Sender;
  #text = "";
  /** Has the same text: a byte is read faster than a character. */
  #bytes: Buffer = NO_BYTES;
  /** Where the text begins in `#bytes`. */
  #offset = 0;
  #maxFields = 0;
  #count = 0;
  #start = 0;
  #colon = 0;
  #valueStart = 0;
  #valueEnd = 0;
  #lineEnd = 0;
  /** Where the forwarded lines begin that are not in `#kept` yet; -1 for none. */
  #runStart = -1;
  #kept = "";
  /** Whether the rules for lists decide what is forwarded. */
  #needsList = false;

  constructor(sender: Sender) {
    this.#sender = sender;
  }

  /**
   * Begins with the line after `lineEnd`, the end of the start line. The text is also in `bytes`, at `start`; -1: it is not.
   * Throws `HttpSyntaxError` when a field has a control character.
   */
  begin(text: string, lineEnd: number, maxFields: number, bytes: Buffer, start: number): void {
    this.#text = text;
    this.#bytes = start < 0 ? Buffer.from(text, "latin1") : bytes;
    this.#offset = Math.max(0, start);
    this.#lineEnd = lineEnd;
    this.#maxFields = maxFields;
    this.#count = 0;
    this.#runStart = -1;
    this.#kept = "";
    this.#needsList = false;
    const first = this.#offset + lineEnd;
    // Names the first line at fault.
    if (hasControl(this.#bytes, first, this.#offset + text.length)) {
      readFields(text, this.#sender, maxFields);
    }
  }

  /** The name of the next field; undefined behind the last one. Throws `HttpSyntaxError`. */
  next(): FieldName | undefined {
    const text = this.#text;
    if (this.#lineEnd >= text.length) return undefined;
    const start = this.#lineEnd + 2;
    if (this.#count++ === this.#maxFields) {
      throw new HttpSyntaxError(this.#sender, 431, "too many fields");
    }
    const bytes = this.#bytes;
    const nameStart = this.#offset + start;
    let nameEnd = nameStart;
    let kinds = 0;
    for (let kind = kindAt(bytes, nameEnd); kind !== 0; kind = kindAt(bytes, nameEnd)) {
      kinds |= kind;
      nameEnd++;
    }
    const colon = nameEnd - this.#offset;
    if (kinds === 0 || bytes[nameEnd] !== COLON) throw this.#errorIn(start);
    let end = text.indexOf("\r", colon);
    if (end < 0) end = text.length;
    else if (text.charCodeAt(end + 1) !== LF) throw this.#errorIn(start);
    this.#start = start;
    this.#colon = colon;
    this.#lineEnd = end;
    this.#trim(colon + 1, end);
    return findFieldName(bytes, nameStart, nameEnd, kinds);
  }

  /** Without surrounding whitespace. */
  get value(): string {
    return this.#text.slice(this.#valueStart, this.#valueEnd);
  }

  /** The value as a number of decimal digits, few enough to be exact; -1 for any other value. */
  get number(): number {
    const digits = this.#valueEnd - this.#valueStart;
    if (digits === 0 || digits > MAX_DIGITS) return -1;
    let number = 0;
    for (let at = this.#valueStart; at < this.#valueEnd; at++) {
      const digit = this.#text.charCodeAt(at) - DIGIT_0;
      if (digit < 0 || digit > 9) return -1;
      number = number * 10 + digit;
    }
    return number;
  }

  /** Decides about the present field. To be called for each. */
  handle(handling: Handling): void {
    if (handling === "keep") this.#keep();
    else {
      this.#endRun(this.#start);
      if (handling === "list") this.#needsList = true;
    }
  }

  /** The kept fields as they are sent; undefined when the rules for lists decide. */
  finish(): string | undefined {
    const text = this.#text;
    if (this.#runStart >= 0) {
      // The last line of a head comes without its end.
      this.#kept += `${text.slice(this.#runStart)}\r\n`;
      this.#runStart = -1;
    }
    this.#text = "";
    this.#bytes = NO_BYTES;
    return this.#needsList ? undefined : this.#kept;
  }

  #keep(): void {
    const isAsSent =
      this.#valueStart === this.#colon + 2 &&
      this.#valueEnd === this.#lineEnd &&
      this.#text.charCodeAt(this.#colon + 1) === SPACE;
    if (isAsSent) {
      if (this.#runStart < 0) this.#runStart = this.#start;
      return;
    }
    this.#endRun(this.#start);
    this.#kept += `${this.#text.slice(this.#start, this.#colon)}: ${this.value}\r\n`;
  }

  #endRun(end: number): void {
    if (this.#runStart < 0) return;
    this.#kept += this.#text.slice(this.#runStart, end);
    this.#runStart = -1;
  }

  #trim(from: number, to: number): void {
    const text = this.#text;
    let start = from;
    let end = to;
    while (start < end && isBlank(text.charCodeAt(start))) start++;
    while (end > start && isBlank(text.charCodeAt(end - 1))) end--;
    this.#valueStart = start;
    this.#valueEnd = end;
  }

  #errorIn(start: number): HttpSyntaxError {
    const end = this.#text.indexOf("\r\n", start);
    const line = end < 0 ? this.#text.slice(start) : this.#text.slice(start, end);
    parseFieldLine(line, this.#sender);
    return new HttpSyntaxError(this.#sender, 400, "field value");
  }
}

function isBlank(code: number): boolean {
  return code === SPACE || code === TAB;
}

/** Of each byte: whether it is a control character other than tab, CR and LF. */
const IS_CONTROL = new Uint8Array(256);
for (let byte = 0; byte < 256; byte++) {
  const isAllowed = byte === TAB || byte === CR || byte === LF;
  if ((byte < 0x20 && !isAllowed) || byte === DEL) IS_CONTROL[byte] = 1;
}

/** Four bytes at a time and without a branch for each: half the time of the plain loop. */
function hasControl(bytes: Uint8Array, start: number, end: number): boolean {
  const table = IS_CONTROL;
  let found = 0;
  let at = start;
  for (; at + 3 < end; at += 4) {
    found |=
      (table[bytes[at] as number] as number) |
      (table[bytes[at + 1] as number] as number) |
      (table[bytes[at + 2] as number] as number) |
      (table[bytes[at + 3] as number] as number);
  }
  for (; at < end; at++) found |= table[bytes[at] as number] as number;
  return found !== 0;
}
