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

/** `90_061_000` ms is `1d 1h`. */
export function formatAge(ms: number): string {
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

/** A number that is not a valid time is shown as it is: a hostile writer of the store must not make a command fail. */
export function isoTime(atMs: number): string {
  const date = new Date(atMs);
  return Number.isNaN(date.getTime()) ? String(atMs) : date.toISOString();
}
