/**
 * Makes untrusted text safe to print: names, reasons, log lines and records from the store may contain characters that
 * control a terminal or forge a line. Pure.
 */

/**
 * Control characters (C0, C1), line separators, bidirectional and invisible marks, lone surrogates. The joiners of scripts
 * and emoji (U+200C, U+200D) stay.
 */
const UNSAFE = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}]|(?![\u200c\u200d])\p{Cf}/gu;

/** `text` on one line without unsafe characters, cut to `maxChars`. */
export function escapeForTerminal(text: string, maxChars = 200): string {
  return cut(text, maxChars).replace(UNSAFE, escapeChar);
}

/** The first `maxChars` characters of `text`, with an ellipsis if it is longer. */
export function cut(text: string, maxChars: number): string {
  // A character has at most two UTF-16 units.
  const start = charsOf(text.slice(0, maxChars * 2))
    .slice(0, maxChars)
    .join("");
  return start.length < text.length ? `${start}…` : text;
}

export function charsOf(text: string): string[] {
  return Array.from(text);
}

/** JSON of `value` in which characters that JSON allows but a terminal would interpret are escaped too. */
export function escapeJson(value: unknown, indent?: number): string {
  // Line feeds come only from indentation; JSON escapes those of values.
  return JSON.stringify(value, undefined, indent).replace(UNSAFE, (char) =>
    char === "\n" ? char : escapeChar(char),
  );
}

/** UTF-16 units as `\uXXXX`, which is an escape in JSON too. */
export function escapeChar(char: string): string {
  let escaped = "";
  for (let i = 0; i < char.length; i++) {
    escaped += `\\u${char.charCodeAt(i).toString(16).padStart(4, "0")}`;
  }
  return escaped;
}
