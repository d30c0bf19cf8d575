/**
 * Rows as aligned plain text, for people and for `grep`. Pure.
 */
import { charsOf, escapeForTerminal } from "../../shared/logs/escape.ts";

/** Of nothing, and of an empty text, a dash is shown. */
export type Cell = string | number | null | undefined;

/**
 * A line of titles and a line for each row, each with its line feed. `heading`: the titles as in `"ID | NAME | >COUNT"`, where
 * `>` aligns a column to the right, as numbers are. Cells are escaped here, so that no caller can forget it. Untrusted texts
 * belong in the last column: they may be long or have characters of double width.
 */
export function table(heading: string, rows: readonly (readonly Cell[])[]): string {
  const columns = heading.split(" | ");
  const titles = columns.map((column) => column.replace(/^>/, ""));
  const cells = rows.map((row) =>
    columns.map((_, i) => escapeForTerminal(String(row[i] ?? "")) || "-"),
  );
  const lines = [titles, ...cells];
  const widths = columns.map((_, i) =>
    lines.reduce((widest, line) => Math.max(widest, lengthOf(line[i])), 0),
  );
  return lines.map((line) => `${layOut(line, columns, widths)}\n`).join("");
}

function layOut(
  line: readonly string[],
  columns: readonly string[],
  widths: readonly number[],
): string {
  const cells = line.map((cell, i) => {
    const gap = " ".repeat(Math.max(0, (widths[i] ?? 0) - lengthOf(cell)));
    return columns[i]?.startsWith(">") ? gap + cell : cell + gap;
  });
  return cells.join("  ").trimEnd();
}

function lengthOf(cell: string | undefined): number {
  return charsOf(cell ?? "").length;
}
