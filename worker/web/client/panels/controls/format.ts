/** Values as people read them. Pure. */
import { nameOf } from "../../files/paths.ts";

export function formatBytes(bytes: number): string {
  if (bytes < 1_000) return `${bytes} bytes`;
  const units = ["kB", "MB", "GB", "TB"];
  let value = bytes / 1_000;
  while (value >= 999.5 && units.length > 1) {
    value /= 1_000;
    units.shift();
  }
  return `${value < 10 ? value.toFixed(1) : value.toFixed(0)} ${units[0]}`;
}

/** As `3 minutes ago`. */
export function formatAge(atMs: number, nowMs: number): string {
  const minutes = Math.floor((nowMs - atMs) / 60_000);
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${minutes} min ago`;
  const hours = Math.floor(minutes / 60);
  return hours === 1 ? "1 hour ago" : `${hours} hours ago`;
}

/** As `4:05`. */
export function formatCountdown(ms: number): string {
  const seconds = Math.max(0, Math.ceil(ms / 1_000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

export function formatTime(atMs: number): string {
  return new Date(atMs).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

/** `1 file`, `2 files`. */
export function count(number: number, noun: string): string {
  return number === 1 ? `1 ${noun}` : `${number} ${noun}s`;
}

/** `Ada`, `Ada and Grace`, `Ada, Grace and 2 others`. */
export function listNames(names: readonly string[]): string {
  const shown = names.slice(0, 2);
  const others = names.length - shown.length;
  if (others > 0) return `${shown.join(", ")} and ${count(others, "other")}`;
  return shown.join(" and ");
}

/** At most two letters for an avatar. */
export function initialsOf(name: string): string {
  const words = name.split(/[^\p{L}\p{N}]+/u).filter((word) => word !== "");
  const picked = words.length > 1 ? [words[0], words.at(-1)] : words;
  const letters = picked.map((word) => String.fromCodePoint(word?.codePointAt(0) ?? 0x3f));
  return letters.join("").toUpperCase() || "?";
}

const LANGUAGES: Readonly<Record<string, string>> = {
  c: "C",
  cc: "C++",
  cpp: "C++",
  cs: "C#",
  css: "CSS",
  go: "Go",
  h: "C",
  hpp: "C++",
  html: "HTML",
  java: "Java",
  js: "JavaScript",
  json: "JSON",
  jsx: "JavaScript",
  kt: "Kotlin",
  md: "Markdown",
  mjs: "JavaScript",
  php: "PHP",
  py: "Python",
  rb: "Ruby",
  rs: "Rust",
  sh: "Shell",
  sql: "SQL",
  swift: "Swift",
  toml: "TOML",
  ts: "TypeScript",
  tsx: "TypeScript",
  xml: "XML",
  yaml: "YAML",
  yml: "YAML",
};

export function languageOf(path: string): string {
  const extension = /\.([^.]+)$/.exec(nameOf(path))?.[1]?.toLowerCase() ?? "";
  return Object.hasOwn(LANGUAGES, extension) ? (LANGUAGES[extension] ?? "") : "Plain text";
}
