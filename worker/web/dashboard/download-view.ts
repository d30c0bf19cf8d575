/**
 * The downloads: totals per version, and per day.
 */
import type { DownloadsResponse } from "../../dashboard/responses.ts";
import { byId, fillTable } from "./elements.ts";
import { getJson } from "./feed.ts";
import { formatCount } from "./format.ts";

type Row = DownloadsResponse["rows"][number];

/** Longer tables are cut; the CSV file is complete. */
const MAX_LINES = 500;
const NONE = "No downloads yet.";

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
  fillTable(
    byId("download-versions", HTMLTableElement),
    ["IDE", "Plugin", "Version", "Downloads", "First", "Last"],
    byVersion(downloads.rows).map(({ ide, artifact, version, count, first, last }) => ({
      key: `${ide} ${artifact} ${version}`,
      cells: [
        { text: ide },
        { text: artifact },
        { text: version },
        { text: formatCount(count), isNumber: true },
        { text: first },
        { text: last },
      ],
    })),
    NONE,
  );
  fillTable(
    byId("download-days", HTMLTableElement),
    ["Day", "IDE", "Plugin", "Version", "Downloads"],
    downloads.rows.slice(0, MAX_LINES).map(({ day, ide, artifact, version, count }) => ({
      key: `${day} ${ide} ${artifact} ${version}`,
      cells: [
        { text: day },
        { text: ide },
        { text: artifact },
        { text: version },
        { text: formatCount(count), isNumber: true },
      ],
    })),
    NONE,
  );
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
function byVersion(rows: readonly Row[]) {
  const versions = new Map<string, Row & { first: string; last: string }>();
  for (const row of rows) {
    const key = JSON.stringify([row.ide, row.artifact, row.version]);
    const { count, last } = versions.get(key) ?? { count: 0, last: row.day };
    versions.set(key, { ...row, count: count + row.count, first: row.day, last });
  }
  return [...versions.values()].sort((a, b) => b.count - a.count).slice(0, MAX_LINES);
}
