/**
 * What the bytes of a file are, and back: text that can be edited, text that can only be shown, or something else. Texts in
 * the page have `\n` as their only line end; the form of a file brings its own ones back. Pure.
 */
import { countEach } from "../../../../shared/base/grouping.ts";

/** Larger texts are not opened: each key would take too long in some part of the page, here or at a guest. */
export const MAX_TEXT_BYTES = 8 * 1024 * 1024;
/** As much as Git looks at. */
const SAMPLE_BYTES = 8_000;
const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf] as const;
const LINE_END = /\r\n|\r|\n/g;

export type LineEnd = "\n" | "\r\n" | "\r";

/** What a text does not say about its file. */
export interface TextForm {
  readonly hasByteOrderMark: boolean;
  /** Of most lines. */
  readonly lineEnd: LineEnd;
  /** The text with its own line ends, when they differ from each other: lines that nobody edits keep theirs. */
  readonly mixed: string | undefined;
}

export const NEW_TEXT_FORM: TextForm = {
  hasByteOrderMark: false,
  lineEnd: "\n",
  mixed: undefined,
};

export type FileContent =
  | { readonly kind: "text"; readonly text: string; readonly form: TextForm }
  /** Not UTF-8: saving it would change bytes that nobody touched. */
  | { readonly kind: "foreign-text"; readonly text: string; readonly encoding: string }
  | { readonly kind: "too-large" }
  | { readonly kind: "binary" };

export function decode(bytes: Uint8Array): FileContent {
  const isTooLarge = bytes.length > MAX_TEXT_BYTES;
  const encoding = guessEncoding(isTooLarge ? bytes.subarray(0, SAMPLE_BYTES) : bytes);
  if (encoding === undefined) return { kind: "binary" };
  if (isTooLarge) return { kind: "too-large" };
  const text = decodeAs(encoding, bytes);
  if (text === undefined) return { kind: "binary" };
  if (encoding !== "utf-8") return { kind: "foreign-text", text: unify(text), encoding };
  return { kind: "text", text: unify(text), form: formOf(text, hasByteOrderMark(bytes)) };
}

/** The bytes of an edited text. Equal to those it was decoded from as long as the text is the same. */
export function encode(text: string, form: TextForm): Uint8Array {
  const unified = unify(text);
  const withEnds =
    form.mixed === undefined
      ? unified.replaceAll("\n", form.lineEnd)
      : restoreLineEnds(unified, form.mixed, form.lineEnd);
  const bytes = new TextEncoder().encode(withEnds);
  if (!form.hasByteOrderMark) return bytes;
  const marked = new Uint8Array(BYTE_ORDER_MARK.length + bytes.length);
  marked.set(BYTE_ORDER_MARK);
  marked.set(bytes, BYTE_ORDER_MARK.length);
  return marked;
}

// --- encodings ---

/** Undefined: not a text. */
function guessEncoding(bytes: Uint8Array): string | undefined {
  const sample = bytes.subarray(0, SAMPLE_BYTES);
  if (sample[0] === 0xff && sample[1] === 0xfe) return "utf-16le";
  if (sample[0] === 0xfe && sample[1] === 0xff) return "utf-16be";
  const even = count(sample, (byte, at) => byte === 0 && at % 2 === 0);
  const odd = count(sample, (byte, at) => byte === 0 && at % 2 === 1);
  if (even + odd > 0) {
    // Texts in Latin letters have a zero in most of their 16-bit units, always on the same side.
    if (bytes.length % 2 === 1 || even + odd < sample.length / 4) return undefined;
    if (even === 0) return "utf-16le";
    return odd === 0 ? "utf-16be" : undefined;
  }
  if (decodeAs("utf-8", bytes) !== undefined) return "utf-8";
  return count(sample, isControl) > sample.length / 50 ? undefined : "windows-1252";
}

/** Without a byte order mark. Undefined if the bytes are not valid. */
function decodeAs(encoding: string, bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

function hasByteOrderMark(bytes: Uint8Array): boolean {
  return BYTE_ORDER_MARK.every((byte, index) => bytes[index] === byte);
}

function count(bytes: Uint8Array, isCounted: (byte: number, at: number) => boolean): number {
  return bytes.reduce((found, byte, at) => (isCounted(byte, at) ? found + 1 : found), 0);
}

/** Control characters that texts do not have; tab to carriage return and escape are in many. */
function isControl(byte: number): boolean {
  return (byte < 0x20 && (byte < 9 || byte > 13) && byte !== 27) || byte === 127;
}

// --- line ends ---

function unify(text: string): string {
  return text.includes("\r") ? text.replace(LINE_END, "\n") : text;
}

function formOf(text: string, isMarked: boolean): TextForm {
  if (!text.includes("\r")) return { ...NEW_TEXT_FORM, hasByteOrderMark: isMarked };
  const counts = countEach(lineEndsOf(text));
  const [[lineEnd] = ["\n" as const]] = [...counts].sort(([, a], [, b]) => b - a);
  return { hasByteOrderMark: isMarked, lineEnd, mixed: counts.size > 1 ? text : undefined };
}

function lineEndsOf(text: string): LineEnd[] {
  return (text.match(LINE_END) ?? []) as LineEnd[];
}

/** Lines at the start and at the end that are equal to the original's keep their line ends; those between get the usual one. */
function restoreLineEnds(text: string, original: string, usual: LineEnd): string {
  const lines = text.split("\n");
  const oldLines = original.split(LINE_END);
  const oldEnds = lineEndsOf(original);
  const most = Math.min(lines.length, oldLines.length);
  let same = 0;
  while (same < most && lines[same] === oldLines[same]) same++;
  let sameAtEnd = 0;
  while (
    sameAtEnd < most - same &&
    lines[lines.length - 1 - sameAtEnd] === oldLines[oldLines.length - 1 - sameAtEnd]
  ) {
    sameAtEnd++;
  }
  const shift = oldLines.length - lines.length;
  return lines
    .map((line, index) => {
      if (index === lines.length - 1) return line;
      if (index < same) return line + (oldEnds[index] ?? usual);
      // The end of the line before the equal ones belongs to them: `index + 1` is the first of them.
      if (index + 1 >= lines.length - sameAtEnd) return line + (oldEnds[index + shift] ?? usual);
      return line + usual;
    })
    .join("");
}
