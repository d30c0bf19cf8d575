/**
 * What is counted of sessions, as the store's counters have it: totals over all days, which only grow, under few names. Days are
 * differences between the totals that daily-usage.ts writes down. Pure.
 */
import { IDE_GROUPS, type IdeGroup } from "./ide-groups.ts";

export const USAGE_PREFIX = "usage/";

/** Upper bounds of the most people at once in a session; further ones are in the last. */
export const SIZES = [
  { name: "1", upTo: 1 },
  { name: "2", upTo: 2 },
  { name: "3", upTo: 3 },
  { name: "4", upTo: 4 },
  { name: "5", upTo: 5 },
  { name: "6-10", upTo: 10 },
  { name: "11-20", upTo: 20 },
  { name: "21-more", upTo: Number.POSITIVE_INFINITY },
] as const;

/** Of the length of a session, in minutes. */
export const LENGTHS = [
  { name: "0-5", upTo: 5 },
  { name: "5-15", upTo: 15 },
  { name: "15-30", upTo: 30 },
  { name: "30-60", upTo: 60 },
  { name: "60-120", upTo: 120 },
  { name: "120-240", upTo: 240 },
  { name: "240-480", upTo: 480 },
  { name: "480-more", upTo: Number.POSITIVE_INFINITY },
] as const;

export type SizeName = (typeof SIZES)[number]["name"];
export type LengthName = (typeof LENGTHS)[number]["name"];

/** Of a time: sessions hosted and joins by IDE; and of the sessions that ended then, how large and how long they were. */
export interface UsageCounts {
  readonly hosted: Readonly<Record<IdeGroup, number>>;
  readonly joined: Readonly<Record<IdeGroup, number>>;
  readonly ended: number;
  /** Sum of the most people at once of each. */
  readonly people: number;
  /** Sum of their lengths. */
  readonly minutes: number;
  readonly sizes: Readonly<Record<SizeName, number>>;
  readonly lengths: Readonly<Record<LengthName, number>>;
}

/** By name, without the prefix. */
export type Totals = Readonly<Record<string, number>>;

const SIZE_NAMES = SIZES.map(({ name }) => name);
const LENGTH_NAMES = LENGTHS.map(({ name }) => name);

export function joinIncrements(group: IdeGroup, isHost: boolean): Record<string, number> {
  return { [`${USAGE_PREFIX}${isHost ? "hosted" : "joined"}/${group}`]: 1 };
}

export function endIncrements(people: number, minutes: number): Record<string, number> {
  return {
    [`${USAGE_PREFIX}ended`]: 1,
    [`${USAGE_PREFIX}people`]: people,
    // Counters are sums of decimal fractions in Redis: whole numbers stay exact.
    [`${USAGE_PREFIX}seconds`]: Math.round(minutes * 60),
    [`${USAGE_PREFIX}size/${nameOf(SIZES, people)}`]: 1,
    [`${USAGE_PREFIX}minutes/${nameOf(LENGTHS, minutes)}`]: 1,
  };
}

/** A length of exactly 5 minutes is in `5-15`, a size of 5 in `5`: bounds of lengths are not included. */
function nameOf(
  bounds: readonly { readonly name: string; readonly upTo: number }[],
  value: number,
): string {
  const isIncluded = bounds === SIZES;
  const bound = bounds.find(({ upTo }) => (isIncluded ? value <= upTo : value < upTo));
  return bound?.name ?? "";
}

/** The totals among the store's counters. */
export function totalsOf(counters: Readonly<Record<string, number>>): Totals {
  return Object.fromEntries(
    Object.entries(counters).map(([name, count]) => [name.slice(USAGE_PREFIX.length), count]),
  );
}

/** What was counted between two times. A total that has fallen began again: the store was emptied. */
export function countsBetween(before: Totals, after: Totals): UsageCounts {
  const since = (name: string): number => {
    const [from, to] = [before[name] ?? 0, after[name] ?? 0];
    return Math.max(0, to < from ? to : to - from);
  };
  const each = <Name extends string>(prefix: string, names: readonly Name[]) =>
    Object.fromEntries(names.map((name) => [name, since(`${prefix}/${name}`)])) as Record<
      Name,
      number
    >;
  return {
    hosted: each("hosted", IDE_GROUPS),
    joined: each("joined", IDE_GROUPS),
    ended: since("ended"),
    people: since("people"),
    minutes: since("seconds") / 60,
    sizes: each("size", SIZE_NAMES),
    lengths: each("minutes", LENGTH_NAMES),
  };
}

export function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}
