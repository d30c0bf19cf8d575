/**
 * Draws results as a chart for the README: two columns of questions, for each of them one bar per program with its median, and
 * a line from the smallest to the largest round.
 */
import { writeFileSync } from "node:fs";
import type { Result } from "./results.ts";
import type { Summary } from "./statistics.ts";

export interface DrawnProgram {
  /** As in the results. */
  readonly name: string;
  readonly label: string;
  readonly colour: string;
}

interface Point {
  readonly x: number;
  readonly y: number;
}

const COLUMNS = 2;
const COLUMN = { width: 400, gap: 24 };
const WIDTH = COLUMNS * COLUMN.width + (COLUMNS - 1) * COLUMN.gap;
const LABEL_WIDTH = 104;
const VALUE_WIDTH = 52;
const BAR_WIDTH = COLUMN.width - LABEL_WIDTH - VALUE_WIDTH;
const BAR = { height: 12, distance: 17 };
const HEADING = 36;
const TITLE = 34;
const BETWEEN = 18;
/** A bar that is longer than this many times the first program's is cut off, so that the others remain comparable. */
const CUT_AT = 2.5;

/** Writes docs/`name`.svg with the results that `programs` have figures for. */
export function drawChart(
  name: string,
  title: string,
  results: readonly Result[],
  programs: readonly DrawnProgram[],
): void {
  const panelHeight = HEADING + programs.length * BAR.distance + BETWEEN;
  const height = TITLE + Math.ceil(results.length / COLUMNS) * panelHeight - BETWEEN + 4;
  const panels = results.flatMap((result, index) =>
    drawPanel(result, programs, {
      x: (index % COLUMNS) * (COLUMN.width + COLUMN.gap),
      y: TITLE + Math.floor(index / COLUMNS) * panelHeight,
    }),
  );
  const parts = [
    `<title>${escaped(title)}</title>`,
    text({ x: 0, y: 16 }, title, 'font-size="15" font-weight="bold"'),
    ...panels,
  ];
  // The grey of the text is readable on light and on dark pages.
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12" fill="#7d8590">\n${parts.join("\n")}\n</svg>\n`;
  writeFileSync(new URL(`../../docs/${name}.svg`, import.meta.url), svg);
}

function drawPanel(
  { question, unit, figures }: Result,
  programs: readonly DrawnProgram[],
  at: Point,
): string[] {
  const drawn = programs.filter((program) => figures[program.name] !== undefined);
  const first = figures[drawn[0]?.name ?? ""]?.median ?? 0;
  const longest = Math.max(...drawn.map((program) => figures[program.name]?.max ?? 0));
  const scale = BAR_WIDTH / Math.min(longest, first * CUT_AT);
  return [
    text({ x: at.x, y: at.y + 12 }, question, 'font-weight="bold"'),
    text({ x: at.x, y: at.y + 28 }, unit),
    ...drawn.flatMap((program, index) => {
      const y = at.y + HEADING + index * BAR.distance;
      const figure = figures[program.name];
      return figure === undefined ? [] : drawBar(program, figure, scale, { x: at.x, y });
    }),
  ];
}

function drawBar(program: DrawnProgram, figure: Summary, scale: number, at: Point): string[] {
  const left = at.x + LABEL_WIDTH;
  const end = (value: number): number => left + Math.min(BAR_WIDTH, Math.max(1, value * scale));
  const middle = at.y + BAR.height / 2;
  const baseline = at.y + BAR.height - 2;
  const isCut = figure.median * scale > BAR_WIDTH;
  const digits = figure.median < 100 ? 1 : 0;
  const value = figure.median.toLocaleString("en", {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
  return [
    text({ x: left - 8, y: baseline }, program.label, 'text-anchor="end"'),
    `<rect x="${left}" y="${at.y}" width="${(end(figure.median) - left).toFixed(1)}" height="${BAR.height}" fill="${program.colour}"/>`,
    isCut
      ? // A slanted gap shows that the bar is longer than drawn.
        `<path d="M${left + BAR_WIDTH - 18} ${at.y + BAR.height + 2}l6 -16" stroke="#fff" stroke-width="3"/>`
      : `<path d="M${end(figure.min).toFixed(1)} ${middle}H${end(figure.max).toFixed(1)}" stroke="#7d8590" stroke-width="2"/>`,
    text({ x: Math.max(end(figure.median), end(figure.max)) + 5, y: baseline }, value),
  ];
}

function text({ x, y }: Point, words: string, attributes = ""): string {
  return `<text x="${x.toFixed(1)}" y="${y}" ${attributes}>${escaped(words)}</text>`;
}

function escaped(words: string): string {
  return words.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
