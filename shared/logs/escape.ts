/**
 * What strangers wrote, made fit to be shown: names, causes, log lines and records from the store may hold what drives a
 * terminal or forges a line. Pure.
 */

/**
 * What a terminal or a reader could take for something else: controls (C0, C1), separators of lines, marks that turn the
 * direction of writing or cannot be seen, halves of characters. The joiners of scripts and emoji (U+200C, U+200D) stay.
 */
const UNSAFE = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}]|(?![\u200c\u200d])\p{Cf}/gu;

/** `text` on one line, harmless; longer than `maxChars` it is cut. */
export function escapeForTerminal(text: string, maxChars = 200): string {
  return cut(text, maxChars).replace(UNSAFE, escapeChar);
}

/** The first `maxChars` characters of `text`, and an ellipsis when that is not all. */
export function cut(text: string, maxChars: number): string {
  // A character has two units at most.
  const begin = charsOf(text.slice(0, maxChars * 2))
    .slice(0, maxChars)
    .join("");
  return begin.length < text.length ? `${begin}…` : text;
}

/** The characters of `text`: code points, not halves of them. */
export function charsOf(text: string): string[] {
  return Array.from(text);
}

/** JSON of `value`; what JSON leaves as it is although a terminal would obey it is escaped. */
export function escapeJson(value: unknown, indent?: number): string {
  // Line feeds are there only when JSON is laid out for reading; those of values are escaped already.
  return JSON.stringify(value, undefined, indent).replace(UNSAFE, (char) =>
    char === "\n" ? char : escapeChar(char),
  );
}

/** UTF-16 units as `\uXXXX`, which is an escape in JSON too. */
function escapeChar(char: string): string {
  let escaped = "";
  for (let i = 0; i < char.length; i++) {
    escaped += `\\u${char.charCodeAt(i).toString(16).padStart(4, "0")}`;
  }
  return escaped;
}
