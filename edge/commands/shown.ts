/**
 * What strangers wrote, made fit to be shown: names, causes and records from the store may hold what drives a terminal or
 * forges a line, and session keys are as good as an invitation. Pure.
 */

/**
 * What a terminal or a reader could take for something else: controls (C0, C1), separators of lines, marks that turn the
 * direction of writing or cannot be seen, halves of characters. The joiners of scripts and emoji (U+200C, U+200D) stay.
 */
const UNSAFE = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}]|(?![\u200c\u200d])\p{Cf}/gu;
/** Characters of a key that are shown: enough to tell one from another, too few to use it. */
const SHOWN_KEY_CHARS = 6;

/** `text` on one line, harmless; longer than `maxChars` it is cut. */
export function harmless(text: string, maxChars = 200): string {
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
export function harmlessJson(value: unknown, indent?: number): string {
  // Line feeds are there only when JSON is laid out for reading; those of values are escaped already.
  return JSON.stringify(value, undefined, indent).replace(UNSAFE, (char) =>
    char === "\n" ? char : escapeChar(char),
  );
}

/** The beginning of a session key, never more than half of it: `aB3xY9…`. */
export function shortKey(key: string): string {
  const shown = Math.min(SHOWN_KEY_CHARS, Math.floor(key.length / 2));
  return `${key.slice(0, shown)}…`;
}

/** The key whole when the operator asked for that, else its beginning. */
export function shownKey(key: string, isFull: boolean): string {
  return isFull ? key : shortKey(key);
}

/** `90_061_000` ms is `1d 1h`. */
export function shownAge(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const units: [number, string][] = [
    [Math.floor(seconds / 86_400), "d"],
    [Math.floor(seconds / 3600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "m"],
    [seconds % 60, "s"],
  ];
  const first = units.findIndex(([count]) => count > 0);
  if (first === -1) return "0s";
  return units
    .slice(first, first + 2)
    .filter(([count]) => count > 0)
    .map(([count, unit]) => `${count}${unit}`)
    .join(" ");
}

/** UTF-16 units as `\uXXXX`, which is an escape in JSON too. */
function escapeChar(char: string): string {
  let escaped = "";
  for (let i = 0; i < char.length; i++) {
    escaped += `\\u${char.charCodeAt(i).toString(16).padStart(4, "0")}`;
  }
  return escaped;
}
