/**
 * Compares versions and IDE builds by the rules of JetBrains and Eclipse. Pure. VS Code uses semantic versions, which the
 * library `semver` compares.
 */

/**
 * Compares versions of JetBrains plugins, which may be any text, as the IDEs do: numbers by value, words by rank (snapshot,
 * milestone, alpha, beta, candidate, then the release itself, then all other words). The part after a plus counts like any
 * other, so `1.2.3+build.5` is newer than `1.2.3`. Negative when `a` is older.
 */
export function compareVersions(a: string, b: string): number {
  const left = partsOf(a);
  const right = partsOf(b);
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const rank = rankOf(left[i]);
    const difference = rank - rankOf(right[i]) || comparePart(left[i] ?? "", right[i] ?? "", rank);
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
 * Whether `build` (`IU-242.21829.142`, with or without the product code) is in the range. A missing limit is no limit; `242.*`
 * includes all builds of 242.
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

export function isBuild(text: string): boolean {
  return buildNumber(text) !== undefined;
}

// --- builds ---

/** Undefined when it is invalid. `*` and SNAPSHOT stand for the highest number. */
function buildNumber(text: string): number[] | undefined {
  const numbers = text.trim().replace(/^[A-Z]+-/, "");
  if (!/^\d{1,9}(\.(\d{1,9}|\*|SNAPSHOT))*$/.test(numbers)) return undefined;
  return numbers.split(".").map((part) => (/^\d/.test(part) ? Number(part) : Number.MAX_VALUE));
}

function compareNumbers(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const [left = 0, right = 0] = [a[i], b[i]];
    if (left !== right) return left - right;
    // Parts after a wildcard do not count.
    if (left === Number.MAX_VALUE) return 0;
  }
  return 0;
}

// --- versions ---

/** Ranks of words, as in IntelliJ's VersionComparatorUtil; all other words share one rank. */
const RANKS: Readonly<Record<string, number>> = {
  snap: 10,
  snapshot: 10,
  m: 20,
  eap: 25,
  pre: 25,
  preview: 25,
  alpha: 30,
  a: 30,
  beta: 40,
  betta: 40,
  b: 40,
  rc: 50,
  sp: 70,
  rel: 80,
  release: 80,
  r: 80,
  final: 80,
  bundled: 666,
};
/** A missing part, or zero: `1.0` is newer than `1.0-beta` and equal to `1.0.0`. */
const NONE = 60;
const OTHER_WORD = 90;
const NUMBER = 100;

function partsOf(version: string): string[] {
  return version.toLowerCase().match(/[0-9]+|[^0-9()._\-;:/, +~]+/g) ?? [];
}

function rankOf(part: string | undefined): number {
  const word = part?.trim() ?? "";
  if (word === "" || /^0+$/.test(word)) return NONE;
  if (/^[0-9]+$/.test(word)) return NUMBER;
  return Object.hasOwn(RANKS, word) ? (RANKS[word] ?? OTHER_WORD) : OTHER_WORD;
}

/** Two parts of the same rank: numbers of any length by value, but `02` is older than `1`; words as text. */
function comparePart(a: string, b: string, rank: number): number {
  if (rank === OTHER_WORD) return a === b ? 0 : a < b ? -1 : 1;
  if (rank !== NUMBER) return 0;
  const zeros = Math.min(zerosOf(a), zerosOf(b));
  const [left, right] = [a.slice(zeros), b.slice(zeros)];
  if (left.startsWith("0") || right.startsWith("0")) return left.startsWith("0") ? -1 : 1;
  return left.length - right.length || (left === right ? 0 : left < right ? -1 : 1);
}

function zerosOf(digits: string): number {
  return /^0*/.exec(digits)?.[0].length ?? 0;
}

function numberOf(text: string | undefined): number {
  const number = Number(text ?? 0);
  return Number.isFinite(number) ? number : 0;
}
