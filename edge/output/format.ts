/**
 * Keys and times in the output of commands. With a session key anyone can ask to join, so only its beginning is shown. Pure.
 */
/** Characters of a key that are shown: enough to distinguish keys, too few to use one. */
const SHOWN_KEY_CHARS = 6;

/** The beginning of a session key, never more than half of it: `aB3xY9…`. */
export function shortKey(key: string): string {
  const shown = Math.min(SHOWN_KEY_CHARS, Math.floor(key.length / 2));
  return `${key.slice(0, shown)}…`;
}

/** The whole key with `--full`, else its beginning. */
export function formatKey(key: string, isFull: boolean): string {
  return isFull ? key : shortKey(key);
}

/** A number that is not a valid time is shown as it is: a hostile writer of the store must not make a command fail. */
export function isoTime(atMs: number): string {
  const date = new Date(atMs);
  return Number.isNaN(date.getTime()) ? String(atMs) : date.toISOString();
}
