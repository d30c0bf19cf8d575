/**
 * The names of fields that a head's readers ask for or do not forward, found without making a string of each name. Pure.
 */
import { EDGE_HEADER_PREFIX } from "../../shared/net/edge-headers.ts";
import { type Handling, handlingInRequest, handlingInResponse } from "./headers.ts";

/** What is known about a field by its name. */
export interface FieldName {
  /** Empty for a name that no reader asks for. */
  readonly lower: string;
  readonly inRequest: Handling;
  readonly inResponse: Handling;
}

const OTHER: FieldName = { lower: "", inRequest: "keep", inResponse: "keep" };
const PRIVATE: FieldName = { lower: "", inRequest: "drop", inResponse: "drop" };
/** CGI programs may read it as another name, so the rules for lists decide. */
const AMBIGUOUS: FieldName = { lower: "", inRequest: "list", inResponse: "keep" };

/**
 * By length, first and last character, which are different for each pair of names. Every other name that is not simply kept
 * has a prefix (`classifyOther`).
 */
const KNOWN: (FieldName | undefined)[] = new Array(128).fill(undefined);
for (const lower of [
  ...["authorization", "close", "connection", "content-length", "cookie", "ctstickiness", "expect"],
  ...["forwarded", "host", "keep-alive", "proxy", "referer", "te", "trailer", "transfer-encoding"],
  ...["upgrade", "user-agent", "x-ct-epoch", "x-ct-key", "x-ct-owner", "x-ct-session"],
  ...["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-oct-jwt", "x-real-ip"],
  "x-request-id",
]) {
  const slot = slotOf(lower.length, lower.charCodeAt(0), lower.charCodeAt(lower.length - 1));
  if (KNOWN[slot] !== undefined) throw new TypeError(`two field names in slot ${slot}`);
  KNOWN[slot] = {
    lower,
    inRequest: handlingInRequest(lower),
    inResponse: handlingInResponse(lower),
  };
}

function slotOf(length: number, first: number, last: number): number {
  return (length * 3 + first * 9 + last) & 127;
}

/** The lower case of each byte that a token may contain (RFC 9110 §5.6.2), 0 for any other. */
const LOWER = new Uint8Array(256);
const LETTER_OR_DIGIT = 1;
const OTHER_CHARACTER = 2;
/** Of each byte: 0 outside tokens; `-` counts as a letter. */
const KIND = new Uint8Array(256);
for (const char of "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") {
  LOWER[char.charCodeAt(0)] = char.toLowerCase().charCodeAt(0);
  KIND[char.charCodeAt(0)] = /[A-Za-z0-9-]/.test(char) ? LETTER_OR_DIGIT : OTHER_CHARACTER;
}

/** The kind of a byte, one bit; 0 for one that no name contains, and behind the end. */
export function kindAt(bytes: Uint8Array, at: number): number {
  return (KIND[bytes[at] as number] as number) | 0;
}

function lowerAt(bytes: Uint8Array, at: number): number {
  return (LOWER[bytes[at] as number] as number) | 0;
}

/** The name from `start` to `end`, in any letter case, with bytes of these kinds. */
export function findFieldName(
  bytes: Uint8Array,
  start: number,
  end: number,
  kinds: number,
): FieldName {
  const first = lowerAt(bytes, start);
  const known = KNOWN[slotOf(end - start, first, lowerAt(bytes, end - 1))];
  if (
    known !== undefined &&
    known.lower.length === end - start &&
    isAt(bytes, start, known.lower)
  ) {
    return known;
  }
  if (first === LOWER_X && isAt(bytes, start, EDGE_HEADER_PREFIX)) return PRIVATE;
  if (first === LOWER_P && isAt(bytes, start, "proxy-")) return PRIVATE;
  return kinds === LETTER_OR_DIGIT ? OTHER : AMBIGUOUS;
}

const LOWER_P = 0x70;
const LOWER_X = 0x78;

/** Whether `lower` is at `start`, in any letter case. */
function isAt(bytes: Uint8Array, start: number, lower: string): boolean {
  for (let at = 0; at < lower.length; at++) {
    if (lowerAt(bytes, start + at) !== lower.charCodeAt(at)) return false;
  }
  return true;
}
