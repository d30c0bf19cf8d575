/**
 * Draws results as bars: two columns of questions, for each of them one bar per program with its median, and a line from the
 * smallest to the largest round.
 */
import type { Result } from "./results.ts";
import type { Summary } from "./statistics.ts";
import { type Point, svgPage, textAt as text } from "./svg.ts";

export interface DrawnProgram {
  /** As in the results. */
  readonly name: string;
  readonly label: string;
  readonly colour: string;
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

/** Draws the figures of `programs`; those without any are left out. */
export function drawBars(
  title: string,
  results: readonly Result[],
  programs: readonly DrawnProgram[],
): string {
  const most = Math.max(0, ...results.map((result) => drawnIn(result, programs).length));
  const panelHeight = HEADING + most * BAR.distance + BETWEEN;
  const height = TITLE + Math.ceil(results.length / COLUMNS) * panelHeight - BETWEEN + 4;
  const parts = results.flatMap((result, index) =>
    drawPanel(result, programs, {
      x: (index % COLUMNS) * (COLUMN.width + COLUMN.gap),
      y: TITLE + Math.floor(index / COLUMNS) * panelHeight,
    }),
  );
  return svgPage({ title, width: WIDTH, height, parts });
}

function drawnIn({ figures }: Result, programs: readonly DrawnProgram[]): DrawnProgram[] {
  return programs.filter((program) => figures[program.name] !== undefined);
}

function drawPanel(result: Result, programs: readonly DrawnProgram[], at: Point): string[] {
  const { question, unit, figures } = result;
  const drawn = drawnIn(result, programs);
  const first = figures[drawn[0]?.name ?? ""]?.median ?? 0;
  const longest = Math.max(...drawn.map((program) => figures[program.name]?.max ?? 0));
  const scale = BAR_WIDTH / ((first > 0 ? Math.min(longest, first * CUT_AT) : longest) || 1);
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
