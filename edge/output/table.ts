/**
 * Rows as aligned plain text, for people and for `grep`. Pure.
 */
import { charsOf, escapeForTerminal } from "../../shared/logs/escape.ts";

/** Numbers are aligned to the right. */
export interface Column {
  readonly title: string;
  readonly align?: "left" | "right";
}

/**
 * A line of titles and a line for each row, each with its line feed. Cells are escaped here, so that no caller can forget it;
 * an empty cell is a dash. Untrusted texts belong in the last column: they may be long or have characters of double width.
 */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const cells = rows.map((row) => columns.map((_, i) => escapeForTerminal(row[i] ?? "") || "-"));
  const titles = columns.map(({ title }) => title);
  const lines = [titles, ...cells];
  const widths = columns.map((_, i) => widestOf(lines, i));
  return lines.map((line) => `${layOut(line, columns, widths)}\n`).join("");
}

function layOut(
  line: readonly string[],
  columns: readonly Column[],
  widths: readonly number[],
): string {
  const cells = line.map((cell, i) => {
    const gap = " ".repeat(Math.max(0, (widths[i] ?? 0) - lengthOf(cell)));
    return columns[i]?.align === "right" ? gap + cell : cell + gap;
  });
  return cells.join("  ").trimEnd();
}

function widestOf(lines: readonly (readonly string[])[], column: number): number {
  return lines.reduce((widest, line) => Math.max(widest, lengthOf(line[column])), 0);
}

function lengthOf(cell: string | undefined): number {
  return charsOf(cell ?? "").length;
}
