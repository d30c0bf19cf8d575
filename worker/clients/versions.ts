/**
 * Which of two versions is newer, and which IDE builds a plugin is for: as JetBrains and Eclipse count. Pure. VS Code's
 * versions are semantic ones, which the library `semver` compares.
 */

/**
 * Compares versions of JetBrains plugins, which may be anything: numbers by value, words by their usual rank
 * (snapshot, milestone, alpha, beta, candidate, then the release itself). Negative when `a` is older.
 */
export function compareVersions(a: string, b: string): number {
  const left = partsOf(a);
  const right = partsOf(b);
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const difference = rankOf(left[i]) - rankOf(right[i]) || comparePart(left[i], right[i]);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Compares `1.2.3.qualifier` (OSGi): the first three by value, the last as text. */
export function compareOsgiVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((text) => text.split("."));
  for (let i = 0; i < 3; i++) {
    const difference = numberOf(left?.[i]) - numberOf(right?.[i]);
    if (difference !== 0) return difference;
  }
  const [qualifierA, qualifierB] = [left, right].map((parts) => parts?.slice(3).join(".") ?? "");
  if (qualifierA === qualifierB) return 0;
  return (qualifierA ?? "") < (qualifierB ?? "") ? -1 : 1;
}

/**
 * Whether a plugin for builds from `since` to `until` is for `build`: `IU-242.21829.142`, with or without the product. A
 * missing limit is none; `242.*` holds all of them.
 */
export function fitsBuild(
  build: string,
  range: { readonly sinceBuild?: string; readonly untilBuild?: string },
): boolean {
  const number = buildNumber(build);
  if (number === undefined) return false;
  const since = buildNumber(range.sinceBuild ?? "");
  const until = buildNumber(range.untilBuild ?? "");
  if (since !== undefined && compareNumbers(number, since) < 0) return false;
  return until === undefined || compareNumbers(number, until) <= 0;
}

/** Whether `text` is a build of an IDE. */
export function isBuild(text: string): boolean {
  return buildNumber(text) !== undefined;
}

// --- builds ---

/** Undefined when it is none. A `*` or SNAPSHOT stands for the highest number there is. */
function buildNumber(text: string): number[] | undefined {
  const numbers = text.trim().replace(/^[A-Z]+-/, "");
  if (!/^\d{1,9}(\.(\d{1,9}|\*|SNAPSHOT))*$/.test(numbers)) return undefined;
  return numbers.split(".").map((part) => (/^\d/.test(part) ? Number(part) : Number.MAX_VALUE));
}

function compareNumbers(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const [left = 0, right = 0] = [a[i], b[i]];
    if (left !== right) return left - right;
    // Everything behind the highest is equal to it.
    if (left === Number.MAX_VALUE) return 0;
  }
  return 0;
}

// --- versions ---

type Part = number | string;

const RANKS: Readonly<Record<string, number>> = {
  snapshot: 0,
  dev: 0,
  nightly: 0,
  m: 1,
  milestone: 1,
  eap: 2,
  pre: 2,
  preview: 2,
  alpha: 2,
  a: 2,
  beta: 3,
  b: 3,
  rc: 4,
  ga: 6,
  final: 6,
  release: 6,
  sp: 7,
};
const UNKNOWN_WORD = 5;
/** A part that is not there: `1.0` is newer than `1.0-beta` and as new as `1.0.0`. */
const NONE = 6;
const NUMBER = 8;

function partsOf(version: string): Part[] {
  // What follows a plus says how it was built.
  const [numbered = ""] = version.toLowerCase().split("+");
  return (numbered.match(/\d+|\p{L}+/gu) ?? []).map((part) =>
    /^\d/.test(part) ? Number(part) : part,
  );
}

function rankOf(part: Part | undefined): number {
  if (part === undefined || part === 0) return NONE;
  if (typeof part === "number") return NUMBER;
  return Object.hasOwn(RANKS, part) ? (RANKS[part] ?? UNKNOWN_WORD) : UNKNOWN_WORD;
}

function comparePart(a: Part | undefined, b: Part | undefined): number {
  if (typeof a === "number" && typeof b === "number") return a - b;
  if (typeof a === "string" && typeof b === "string" && a !== b) return a < b ? -1 : 1;
  return 0;
}

function numberOf(text: string | undefined): number {
  const number = Number(text ?? 0);
  return Number.isFinite(number) ? number : 0;
}
