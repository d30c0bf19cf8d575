/**
 * The downloads: totals per version, and per day.
 */
import type { DownloadsResponse } from "../../dashboard/responses.ts";
import { byId, fillTable, number, type TableOf } from "./elements.ts";
import { getJson } from "./feed.ts";
import { formatCount } from "./format.ts";

type Row = DownloadsResponse["rows"][number];
/** The days of its first and last download. */
type Version = Row & { readonly first: string; readonly last: string };

/** Longer tables are cut; the CSV file is complete. */
const MAX_LINES = 500;
const NONE = "No downloads yet.";

const VERSIONS: TableOf<Version> = {
  keyOf: ({ ide, artifact, version }) => `${ide} ${artifact} ${version}`,
  none: NONE,
  columns: [
    ["IDE", ({ ide }) => ide],
    ["Plugin", ({ artifact }) => artifact],
    ["Version", ({ version }) => version],
    ["Downloads", ({ count }) => number(formatCount(count))],
    ["First", ({ first }) => first],
    ["Last", ({ last }) => last],
  ],
};

const DAYS: TableOf<Row> = {
  keyOf: ({ day, ide, artifact, version }) => `${day} ${ide} ${artifact} ${version}`,
  none: NONE,
  columns: [
    ["Day", ({ day }) => day],
    ["IDE", ({ ide }) => ide],
    ["Plugin", ({ artifact }) => artifact],
    ["Version", ({ version }) => version],
    ["Downloads", ({ count }) => number(formatCount(count))],
  ],
};

export async function showDownloads(): Promise<void> {
  const total = byId("download-total", HTMLSpanElement);
  let downloads: DownloadsResponse;
  try {
    downloads = await getJson<DownloadsResponse>("downloads");
  } catch {
    total.textContent = "Download counts are unavailable right now.";
    return;
  }
  total.textContent = `${formatCount(downloads.total)} in total${shares(downloads.rows)}.`;
  fillTable(byId("download-versions", HTMLTableElement), VERSIONS, byVersion(downloads.rows));
  fillTable(byId("download-days", HTMLTableElement), DAYS, downloads.rows.slice(0, MAX_LINES));
}

/** `: 5 vscode, 2 eclipse`. */
function shares(rows: readonly Row[]): string {
  const counts = new Map<string, number>();
  for (const { ide, count } of rows) counts.set(ide, (counts.get(ide) ?? 0) + count);
  const shown = [...counts]
    .sort(([, a], [, b]) => b - a)
    .map(([ide, count]) => `${formatCount(count)} ${ide}`);
  return shown.length === 0 ? "" : `: ${shown.join(", ")}`;
}

/** Most downloads first. `rows`: newest day first. */
function byVersion(rows: readonly Row[]): Version[] {
  const versions = new Map<string, Version>();
  for (const row of rows) {
    const key = JSON.stringify([row.ide, row.artifact, row.version]);
    const { count, last } = versions.get(key) ?? { count: 0, last: row.day };
    versions.set(key, { ...row, count: count + row.count, first: row.day, last });
  }
  return [...versions.values()].sort((a, b) => b.count - a.count).slice(0, MAX_LINES);
}
