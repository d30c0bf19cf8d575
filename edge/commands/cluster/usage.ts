/** `ct-edge usage`: who used the edge, day by day, as the dashboard shows it; or as a file for spreadsheets. */

import { type Command, Option } from "commander";
import { counted } from "../../../shared/base/counted.ts";
import { readClusterUsage } from "../../../worker/usage/cluster.ts";
import { sum } from "../../../worker/usage/counts.ts";
import {
  MAX_USAGE_DAYS,
  type ReadUsage,
  readDailyUsage,
} from "../../../worker/usage/daily-usage.ts";
import { IDE_GROUPS, IDE_NAMES } from "../../../worker/usage/ide-groups.ts";
import { usageCsv } from "../../../worker/usage/usage-csv.ts";
import { type Cell, table } from "../../output/table.ts";
import { type CommonFlags, createStoreCommand, wholeNumber } from "../command.ts";

interface Flags extends CommonFlags {
  readonly csv?: true;
  readonly days: number;
}

const DEFAULT_DAYS = 30;

export function usageCommand(): Command {
  return createStoreCommand<Flags>({
    name: "usage",
    description:
      "Shows for each day how many people were here, by which IDEs sessions were hosted and joined, and how large and long they were.",
    options: [
      new Option("--days <number>", "The last days, with today (UTC).")
        .default(DEFAULT_DAYS)
        .argParser(wholeNumber(1, MAX_USAGE_DAYS)),
      new Option("--csv", "Print a CSV file.").conflicts("json"),
    ],
    async run({ store }, { csv, days }) {
      const { people } = await readClusterUsage(store);
      const usage = await readDailyUsage(store, people, days);
      if (csv) return { out: usageCsv(usage.days) };
      // The form of the dashboard's JSON, but for what is known of now.
      const json = { days, users: usage.users, rows: usage.days };
      return { json, out: usageText(usage, days) };
    },
  });
}

type Day = ReadUsage["days"][number];

const HEADING = "day | >people | >hosted | >joined | >ended | >mean people | >mean minutes";

function cellsOf({ day, users, hosted, joined, ended, people, minutes }: Day): Cell[] {
  const counts = [users, sum(hosted), sum(joined), ended];
  return [day, ...counts, mean(people, ended), mean(minutes, ended)];
}

function usageText({ users, days }: ReadUsage, wanted: number): string {
  const lines = [
    `different people in ${counted(wanted, "day")}: ${users}`,
    `hosted with: ${shares(days.map(({ hosted }) => hosted))}`,
    `joined with: ${shares(days.map(({ joined }) => joined))}`,
  ];
  return `${lines.join("\n")}\n\n${table(HEADING, days.map(cellsOf))}`;
}

/** `12 VS Code, 3 IntelliJ`. */
function shares(days: readonly Day["hosted"][]): string {
  const totals = IDE_GROUPS.map((group) => ({
    group,
    count: days.reduce((total, counts) => total + counts[group], 0),
  }));
  const used = totals.filter(({ count }) => count > 0).sort((a, b) => b.count - a.count);
  return used.map(({ group, count }) => `${count} ${IDE_NAMES[group]}`).join(", ") || "none";
}

function mean(total: number, count: number): string {
  return count === 0 ? "" : (total / count).toFixed(1);
}
