/**
 * Formats numbers and times for people. Unknown values are shown as a dash, never as 0. Pure.
 */

const UNKNOWN = "–";

export function formatCount(count: number | null): string {
  return count === null ? UNKNOWN : count.toLocaleString("en-US");
}

export function formatMs(ms: number | null): string {
  if (ms === null) return UNKNOWN;
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
}

export function formatBytes(bytes: number | null): string {
  if (bytes === null) return UNKNOWN;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value < 10 && unit > 0 ? value.toFixed(1) : Math.round(value)} ${units[unit] ?? ""}`;
}

/** The two largest units of a duration: `3 d 4 h`, `12 s`. */
export function formatDuration(ms: number | null): string {
  if (ms === null) return UNKNOWN;
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const parts: (readonly [number, string])[] = [
    [Math.floor(seconds / 86_400), "d"],
    [Math.floor(seconds / 3600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "min"],
    [seconds % 60, "s"],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  if (first < 0) return "0 s";
  return parts
    .slice(first, first + 2)
    .filter(([count]) => count > 0)
    .map(([count, unit]) => `${count} ${unit}`)
    .join(" ");
}

/** A duration without seconds from one minute on: `12 s`, `12 min`, `3 h 4 min`. */
export function formatAge(ms: number | null): string {
  return ms === null || ms < 60_000 || ms >= 3_600_000
    ? formatDuration(ms)
    : `${Math.floor(ms / 60_000)} min`;
}

/** In the browser's time zone. */
export function formatTime(atMs: number): string {
  return new Date(atMs).toLocaleTimeString("en-GB");
}
