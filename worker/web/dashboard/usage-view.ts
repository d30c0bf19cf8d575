/** Usage: people, the IDEs that they use, and how large and long sessions are, over 30 days and by day. */
import type { UsageResponse, UsageRow } from "../../dashboard/responses.ts";
import { IDE_NAMES } from "../../usage/ide-groups.ts";
import { byId, type Cell, element, fillTable, number, type TableOf } from "./elements.ts";
import { getJson } from "./feed.ts";
import { formatAge, formatCount } from "./format.ts";

export async function showUsage(): Promise<void> {
  const status = byId("usage-status", HTMLSpanElement);
  let usage: UsageResponse;
  try {
    usage = await getJson<UsageResponse>("usage?days=30");
  } catch {
    status.textContent = "Usage is unavailable right now.";
    return;
  }
  status.textContent = `The last ${usage.days} days, with today (UTC).`;
  showTiles(usage);
  showShares(usage.rows);
  fillTable(byId("usage-days", HTMLTableElement), DAYS, [...usage.rows].reverse());
}

function showTiles({ now, users, rows }: UsageResponse): void {
  const ended = total(rows.map((row) => row.ended));
  const mean = (sum: number): number | null => (ended === 0 ? null : sum / ended);
  const people = mean(total(rows.map((row) => row.people)));
  const minutes = mean(total(rows.map((row) => row.minutes)));
  const tiles: readonly (readonly [string, string])[] = [
    ["People now", formatCount(now.users)],
    ["Sessions now", formatCount(now.sessions)],
    ["People in 30 days", formatCount(users)],
    ["Sessions hosted", formatCount(total(rows.flatMap(({ hosted }) => Object.values(hosted))))],
    ["Mean size", formatCount(people && Math.round(people * 10) / 10)],
    ["Mean length", formatAge(minutes && minutes * 60_000)],
  ];
  byId("usage-tiles", HTMLDListElement).replaceChildren(
    ...tiles.map(([title, value]) => {
      const box = element("div");
      const shown = element("dd", value);
      shown.dataset["usage"] = title;
      box.append(element("dt", title), shown);
      return box;
    }),
  );
}

/** The names in the order of the first row; all have the same. */
function showShares(rows: readonly UsageRow[]): void {
  const sum = (of: (row: UsageRow) => Readonly<Record<string, number>>) =>
    Object.keys(rows[0] ? of(rows[0]) : {}).map((name) => ({
      name,
      count: total(rows.map((row) => of(row)[name] ?? 0)),
    }));
  const ides = (of: (row: UsageRow) => Readonly<Record<string, number>>) =>
    sum(of)
      .map(({ name, count }) => ({
        name: IDE_NAMES[name as keyof typeof IDE_NAMES] ?? name,
        count,
      }))
      .sort((a, b) => b.count - a.count);
  byId("usage-shares", HTMLDivElement).replaceChildren(
    bars(
      "Hosted with",
      ides(({ hosted }) => hosted),
    ),
    bars(
      "Joined with",
      ides(({ joined }) => joined),
    ),
    bars(
      "Session sizes (most people at once)",
      sum(({ sizes }) => sizes).map(({ name, count }) => ({ name: range(name, ""), count })),
    ),
    bars(
      "Session lengths",
      sum(({ lengths }) => lengths).map(({ name, count }) => ({
        name: range(name, " min"),
        count,
      })),
    ),
  );
}

/** `6-10` is `6–10`, `21-more` is `21 and more`. */
function range(name: string, unit: string): string {
  const [from = "", to] = name.split("-");
  if (to === undefined) return `${from}${unit}`;
  return to === "more" ? `${from}${unit} and more` : `${from}–${to}${unit}`;
}

function bars(title: string, shares: readonly { name: string; count: number }[]): HTMLElement {
  const box = element("figure");
  const list = element("ul", "", "bars");
  const most = Math.max(1, ...shares.map(({ count }) => count));
  for (const { name, count } of shares) {
    const line = element("li", "", "bar-line");
    const bar = element("div", "", "bar");
    const filled = element("div");
    filled.style.width = `${(100 * count) / most}%`;
    bar.append(filled);
    line.append(element("span", name), bar, element("span", formatCount(count), "number"));
    list.append(line);
  }
  box.append(element("figcaption", title), list);
  return box;
}

const DAYS: TableOf<UsageRow> = {
  keyOf: ({ day }) => day,
  none: "Nothing was counted yet.",
  columns: [
    ["Day", ({ day }) => day],
    ["People", ({ users }) => number(formatCount(users))],
    ["Hosted", ({ hosted }) => number(formatCount(total(Object.values(hosted))))],
    ["Joined", ({ joined }) => number(formatCount(total(Object.values(joined))))],
    ["Ended", ({ ended }) => number(formatCount(ended))],
    ["Mean size", ({ people, ended }) => mean(people, ended)],
    ["Mean minutes", ({ minutes, ended }) => mean(minutes, ended)],
  ],
};

function mean(sum: number, count: number): Cell {
  return number(count === 0 ? "" : (sum / count).toFixed(1));
}

function total(counts: readonly number[]): number {
  return counts.reduce((sum, count) => sum + count, 0);
}
