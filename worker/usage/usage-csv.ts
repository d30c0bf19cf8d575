/** Usage as a CSV file: a line for each day. Columns are added at the end, and never change. Pure. */
import { writeCsv } from "../../shared/base/csv.ts";
import { LENGTHS, SIZES, sum } from "./counts.ts";
import type { UsageDay } from "./daily-usage.ts";
import { IDE_GROUPS } from "./ide-groups.ts";

const COLUMNS: readonly (readonly [string, (day: UsageDay) => string | number])[] = [
  ["day", ({ day }) => day],
  ["users", ({ users }) => users],
  ["hosted", ({ hosted }) => sum(hosted)],
  ...IDE_GROUPS.map(
    (group) => [`hosted_${group}`, ({ hosted }: UsageDay) => hosted[group]] as const,
  ),
  ["joined", ({ joined }) => sum(joined)],
  ...IDE_GROUPS.map(
    (group) => [`joined_${group}`, ({ joined }: UsageDay) => joined[group]] as const,
  ),
  ["ended", ({ ended }) => ended],
  ["mean_people", ({ ended, people }) => mean(people, ended)],
  ...SIZES.map(
    ({ name }) => [columnOf("people", name), ({ sizes }: UsageDay) => sizes[name]] as const,
  ),
  ["mean_minutes", ({ ended, minutes }) => mean(minutes, ended)],
  ...LENGTHS.map(
    ({ name }) => [columnOf("minutes", name), ({ lengths }: UsageDay) => lengths[name]] as const,
  ),
];

export const USAGE_COLUMNS: readonly string[] = COLUMNS.map(([name]) => name);

export function usageCsv(days: readonly UsageDay[]): string {
  return writeCsv(
    USAGE_COLUMNS,
    days.map((day) => COLUMNS.map(([, cell]) => cell(day))),
  );
}

/** `people_6_10`, `minutes_480_more`. */
function columnOf(what: string, name: string): string {
  return `${what}_${name.replaceAll("-", "_")}`;
}

/** With two digits; empty when there is nothing to divide by. */
function mean(total: number, count: number): number | "" {
  return count === 0 ? "" : Math.round((total / count) * 100) / 100;
}
