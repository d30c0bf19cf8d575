/** Draws figures over the time of a run: a panel for each unit, a line for each process, and marks for what happened. */
import type { Timeline, TimelinePanel } from "./results.ts";
import { escaped, svgPage, textAt } from "./svg.ts";

const WIDTH = 824;
const PLOT = { left: 44, width: 680, height: 150 };
const TITLE = 34;
const PANEL = { heading: 22, gap: 30 };
const LEGEND_ROW = 16;
/** Readable on light and dark pages. */
const COLOURS = ["#2f81f7", "#3fa45b", "#a371f7", "#d29922", "#db6d6d", "#57606a"];
const MARK_COLOURS = ["#db6d6d", "#d29922", "#3fa45b", "#a371f7", "#2f81f7", "#79b8ff", "#57606a"];

export function drawTimeline(title: string, { marks, panels }: Timeline): string {
  const lastS = Math.max(
    1,
    ...marks.map(({ atS }) => atS),
    ...panels.flatMap(({ lines }) => lines.flatMap(({ points }) => points.map(({ atS }) => atS))),
  );
  const xOf = (atS: number): number => PLOT.left + (PLOT.width * atS) / lastS;
  const panelHeight = PANEL.heading + PLOT.height + PANEL.gap;
  const labels = [...new Set(marks.map(({ label }) => label))];
  const legendY = TITLE + panels.length * panelHeight;
  const colourOf = (label: string): string =>
    MARK_COLOURS[labels.indexOf(label) % MARK_COLOURS.length] ?? "";
  const parts = panels.flatMap((panel, index) => {
    const top = TITLE + index * panelHeight + PANEL.heading;
    const lines = marks.map(
      ({ atS, label }) =>
        `<path d="M${xOf(atS).toFixed(1)} ${top}v${PLOT.height}" stroke="${colourOf(label)}" stroke-opacity="0.4"/>`,
    );
    return [...lines, ...drawPanel(panel, top, xOf, lastS)];
  });
  const legend = labels.map((label, index) => {
    const y = legendY + index * LEGEND_ROW;
    const mark = `<path d="M${PLOT.left} ${y - 4}h14" stroke="${colourOf(label)}" stroke-width="2"/>`;
    return mark + textAt({ x: PLOT.left + 20, y }, label);
  });
  const height = legendY + labels.length * LEGEND_ROW + 4;
  return svgPage({ title, width: WIDTH, height, parts: [...parts, ...legend] });
}

function drawPanel(
  { title, unit, lines }: TimelinePanel,
  top: number,
  xOf: (atS: number) => number,
  lastS: number,
): string[] {
  const most = Math.max(1, ...lines.flatMap(({ points }) => points.map(({ value }) => value)));
  const limit = niceAbove(most);
  const bottom = top + PLOT.height;
  const yOf = (value: number): number => bottom - (PLOT.height * value) / limit;
  const grid = [0, limit / 2, limit].flatMap((value) => [
    `<path d="M${PLOT.left} ${yOf(value).toFixed(1)}h${PLOT.width}" stroke="#7d8590" stroke-opacity="0.3"/>`,
    textAt({ x: PLOT.left - 6, y: yOf(value) + 4 }, String(value), 'text-anchor="end"'),
  ]);
  const minutes = [0, lastS / 2, lastS].map((atS) =>
    textAt({ x: xOf(atS), y: bottom + 14 }, `${(atS / 60).toFixed(1)} min`, 'text-anchor="middle"'),
  );
  const drawn = lines.flatMap(({ name, points }, index) => {
    const colour = COLOURS[index % COLOURS.length] ?? "";
    const path = points
      .map(({ atS, value, run }, at) => {
        const command = points[at - 1]?.run === run ? "L" : "M";
        return `${command}${xOf(atS).toFixed(1)} ${yOf(value).toFixed(1)}`;
      })
      .join("");
    const y = top + 12 + index * LEGEND_ROW;
    const legendX = PLOT.left + PLOT.width + 12;
    return [
      // Round ends show a process with one point.
      `<path d="${path}" fill="none" stroke="${colour}" stroke-width="1.5" stroke-linecap="round"><title>${escaped(name)}</title></path>`,
      `<rect x="${legendX}" y="${y - 8}" width="9" height="9" fill="${colour}"/>`,
      textAt({ x: legendX + 14, y }, name),
    ];
  });
  const heading = textAt({ x: 0, y: top - 8 }, `${title}, ${unit}`, 'font-weight="bold"');
  return [heading, ...grid, ...minutes, ...drawn];
}

/** The next of 1, 2, 4, 5, 6, 8 or 10 times a power of ten. */
function niceAbove(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 4, 5, 6, 8].find((step) => step * power >= value) ?? 10) * power;
}
