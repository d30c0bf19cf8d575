/** Draws results as a chart for the README: for each question one bar per program, shorter is better. */
import { writeFileSync } from "node:fs";
import type { Result } from "./results.ts";

const WIDTH = 720;
const LABEL = 90;
const BAR = 16;
const GAP = 4;
const TITLE = 24;
const BETWEEN = 14;
/** Readable on light and dark pages. */
const COLOURS: Readonly<Record<string, string>> = {
  ours: "#2f81f7",
  nginx: "#3fa45b",
  HAProxy: "#8b949e",
};

export function drawChart(name: string, title: string, results: readonly Result[]): void {
  const parts: string[] = [`<title>${escaped(title)}</title>`];
  let y = TITLE + 4;
  parts.push(text(0, 16, title, "bold"));
  for (const { question, unit, figures } of results) {
    parts.push(text(0, y + 14, `${question} (${unit})`));
    y += TITLE;
    const max = Math.max(...Object.values(figures).map(({ median }) => median));
    for (const [program, { median }] of Object.entries(figures)) {
      const width = Math.max(1, ((WIDTH - LABEL - 60) * Math.max(0, median)) / max);
      parts.push(text(LABEL - 8, y + 13, program, "normal", "end"));
      parts.push(
        `<rect x="${LABEL}" y="${y}" width="${width.toFixed(1)}" height="${BAR}" fill="${COLOURS[program] ?? "#888"}"/>`,
      );
      parts.push(text(LABEL + width + 6, y + 13, median.toFixed(median < 100 ? 1 : 0)));
      y += BAR + GAP;
    }
    y += BETWEEN;
  }
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y}" font-family="sans-serif" font-size="13" fill="#7d8590">\n${parts.join("\n")}\n</svg>\n`;
  writeFileSync(new URL(`../../docs/${name}.svg`, import.meta.url), svg);
}

function text(x: number, y: number, words: string, weight = "normal", anchor = "start"): string {
  return `<text x="${x.toFixed(1)}" y="${y}" font-weight="${weight}" text-anchor="${anchor}">${escaped(words)}</text>`;
}

function escaped(words: string): string {
  return words.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
