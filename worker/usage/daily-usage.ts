/**
 * Usage by day (UTC, by the store's clock): the leading worker writes down the totals of counts.ts, and who was here, every half minute
 * for today and once for each day that is over. A day is the difference to the day before, so that the store's counters keep few names
 * and nothing has to be removed from them.
 */
import { z } from "zod";
import type { Clock } from "../../shared/base/clock.ts";
import { readJson } from "../../shared/base/json.ts";
import { startPeriodicTask } from "../../shared/base/periodic-task.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { LeaderElection } from "../../shared/membership/leader-election.ts";
import type { Deferring, Store } from "../../shared/store/store.ts";
import { STREAMS } from "../../shared/store/streams.ts";
import { reportUnlessAway } from "../../shared/store/unless-away.ts";
import { countsBetween, type Totals, totalsOf, USAGE_PREFIX, type UsageCounts } from "./counts.ts";
import { UniquePeople } from "./unique-people.ts";

const PERIOD_MS = 30_000;
const DAY_MS = 86_400_000;
/** More are not shown. */
export const MAX_USAGE_DAYS = 366;

/** Read beside those of the wanted days: the day before, and days that two leaders have finished. */
const SPARE_TEXTS = 30;

/** One text of the streams. */
interface StoredDay {
  readonly day: string;
  /** At the end of the day, or of today so far. */
  readonly totals: Totals;
  readonly people: UniquePeople;
}

const storedDaySchema = z.object({
  day: z.iso.date(),
  totals: z.record(z.string(), z.number()),
  people: z.object({ exact: z.string().exactOptional(), sketch: z.string().exactOptional() }),
});

// --- writing ---

type WritingStore = Pick<Store, "appendToStream" | "readStream" | "readCounters" | "timeMs">;

/** Writes while this worker is the leader. */
export function recordDailyUsage(deps: {
  readonly store: Deferring<keyof WritingStore>;
  readonly leadership: Pick<LeaderElection, "isLeading">;
  readonly clock: Clock;
  readonly log: Log;
}) {
  const { leadership, clock, log } = deps;
  const store = deps.store.deferred;
  let seen = new Set<string>();
  let day: { readonly day: string; readonly people: UniquePeople } | undefined;
  let written = "";

  async function write(): Promise<void> {
    if (!leadership.isLeading) {
      day = undefined;
      seen.clear();
      return;
    }
    const [nowMs, counters] = await Promise.all([store.timeMs(), store.readCounters(USAGE_PREFIX)]);
    const today = dayOf(nowMs);
    const totals = totalsOf(counters);
    day ??= await resume(today);
    // Another day only when the clock goes on: it may have been set back.
    if (day.day < today) {
      await store.appendToStream("usage-days", [textOf(day, totals)]);
      day = { day: today, people: new UniquePeople() };
    }
    const people = seen;
    seen = new Set();
    day.people.addAll(people);
    const text = textOf(day, totals);
    if (text === written) return;
    await store.appendToStream("usage-today", [text]);
    written = text;
  }

  /** What the leader before has written last, perhaps on another day. */
  async function resume(today: string): Promise<{ day: string; people: UniquePeople }> {
    const { keep } = STREAMS["usage-today"];
    const days = readDays(await store.readStream("usage-today", { limit: keep }), "last");
    // A day to come would never be over.
    return days.findLast(({ day }) => day <= today) ?? { day: today, people: new UniquePeople() };
  }

  const writing = startPeriodicTask({
    clock,
    periodMs: PERIOD_MS,
    work: write,
    onError: reportUnlessAway(log, "cannot write the usage"),
  });
  return {
    /** Hashes of people who are here, or were since the last call. */
    add(people: Iterable<string>): void {
      for (const hash of people) seen.add(hash);
    },
    /** Writes once more. */
    async close(): Promise<void> {
      writing.close();
      await writing.run();
    },
  };
}

function textOf({ day, people }: Pick<StoredDay, "day" | "people">, totals: Totals): string {
  return JSON.stringify({ day, totals, people: people.store() });
}

// --- reading ---

export interface UsageDay extends UsageCounts {
  /** `2030-01-31`. */
  readonly day: string;
  /** Different people; more than 200 are estimated. */
  readonly users: number;
}

export interface ReadUsage {
  /** Different people over all the days. */
  readonly users: number;
  /** Oldest first, without gaps, to today; none before the first day on which the edge counted. */
  readonly days: readonly UsageDay[];
}

/**
 * The last `wanted` days with today. `online`: hashes of the people who are here, as the leader may not have written them yet. Rejects
 * with `StoreAwayError`.
 */
export async function readDailyUsage(
  store: Pick<Store, "readStream" | "readCounters" | "timeMs">,
  online: Iterable<string>,
  wanted: number,
): Promise<ReadUsage> {
  const limit = Math.min(STREAMS["usage-days"].keep, wanted + SPARE_TEXTS);
  const [nowMs, counters, past, present] = await Promise.all([
    store.timeMs(),
    store.readCounters(USAGE_PREFIX),
    store.readStream("usage-days", { limit }),
    store.readStream("usage-today", { limit: STREAMS["usage-today"].keep }),
  ]);
  const today = dayOf(nowMs);
  const totals = totalsOf(counters);
  // A second leader may finish a day again, when the next one has begun.
  const finished = readDays(past, "first").filter(({ day }) => day < today);
  const unfinished = readDays(present, "last").filter(({ day }) => day <= today);
  const last = finished.at(-1)?.day ?? "";
  // Of a day that no leader has finished yet: all was counted on it that is in the totals now.
  const later = unfinished.filter(({ day }) => day > last && day < today);
  const people = unfinished.find(({ day }) => day === today)?.people ?? new UniquePeople();
  people.addAll(online);
  const days = [
    ...finished,
    ...later.slice(0, -1),
    ...later.slice(-1).map((one) => ({ ...one, totals })),
    { day: today, totals, people },
  ];
  const first = dayOf(nowMs - (wanted - 1) * DAY_MS);
  // Of the oldest that is read, the day before is not known.
  const isCut = past.length >= limit && days[0] !== undefined && days[0].day >= first;
  return describeDays(days, isCut ? dayAfter(days[0]?.day ?? first) : first);
}

/** `days`: oldest first. */
function describeDays(days: readonly StoredDay[], first: string): ReadUsage {
  const all = new UniquePeople(Number.POSITIVE_INFINITY);
  const rows: UsageDay[] = [];
  let before: Totals = {};
  let expected: string | undefined;
  for (const { day, totals, people } of days) {
    for (; expected !== undefined && expected < day; expected = dayAfter(expected)) {
      rows.push({ day: expected, users: 0, ...countsBetween({}, {}) });
    }
    if (day >= first) {
      all.addPeople(people);
      rows.push({ day, users: people.count, ...countsBetween(before, totals) });
    }
    before = totals;
    const next = dayAfter(day);
    expected = next < first ? first : next;
  }
  return { users: all.count, days: rows };
}

/** By day, oldest first; of several texts of a day, the first or last totals with the people of all. */
function readDays(
  entries: readonly { readonly text: string }[],
  totalsOf: "first" | "last",
): StoredDay[] {
  const byDay = new Map<string, StoredDay>();
  for (const { text } of entries) {
    const read = readJson(storedDaySchema, text);
    if (read === undefined) continue;
    const before = byDay.get(read.day);
    const people = before?.people ?? new UniquePeople();
    people.merge(read.people);
    const totals = totalsOf === "first" ? (before?.totals ?? read.totals) : read.totals;
    byDay.set(read.day, { day: read.day, totals, people });
  }
  return [...byDay.values()].sort((one, other) => (one.day < other.day ? -1 : 1));
}

function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

function dayAfter(day: string): string {
  return dayOf(Date.parse(day) + DAY_MS);
}
