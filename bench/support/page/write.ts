/**
 * `npm run bench -- page`, a part of `npm run docs`: writes the figures between markers in the pages below, and the charts, from
 * the results that are checked in. The text around the markers is written by hand.
 *
 * `<!-- figures: NAME -->` is a table of the long form's figures, `<!-- figures: NAME, WORDS | WORDS -->` one of the figures
 * whose question or unit contains one of the words, `<!-- ratios: NAME -->` one of ratios, and `<!-- figures: all, short form -->` the table of the last run
 * of all. Each ends with `<!-- end of figures -->`.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { BENCHMARKS } from "../../benchmarks.ts";
import { drawBars } from "../chart.ts";
import { type Result, type Results, readResults } from "../results.ts";
import { readRun } from "../short-run.ts";
import { drawTimeline } from "../timeline-chart.ts";
import { figureTable, headlinesOf, ratioTable, shortTable } from "./tables.ts";

/** From the project's root. */
const PAGES = [
  "bench/README.md",
  "README.md",
  "docs/conformance.md",
  "docs/operators/audit.md",
  "docs/operators/capacity.md",
] as const;
const PLACE =
  /(<!-- (figures|ratios): ([\w-]+)(?:, ([^>]+?))? -->\n)[\s\S]*?(<!-- end of figures -->)/g;
const ROOT = new URL("../../../", import.meta.url);

export function writePage(): void {
  for (const [file, text] of generatedFiles()) writeFileSync(new URL(file, ROOT), text);
}

/** The pages and charts as they have to be, by their paths from the project's root. */
export function generatedFiles(): ReadonlyMap<string, string> {
  return new Map([...PAGES.map((page) => [page, pageOf(page)] as const), ...chartsOf()]);
}

function pageOf(page: string): string {
  const text = readFileSync(new URL(page, ROOT), "utf8");
  return text.replace(
    PLACE,
    (_, start: string, kind: string, name: string, words: string | undefined, end: string) =>
      `${start}${contentsOf(kind, name, words)}\n${end}`,
  );
}

function contentsOf(kind: string, name: string, words: string | undefined): string {
  if (name === "all") return shortTable(readRun(), (one) => readResults(one, "short"));
  const benchmark = BENCHMARKS.find((one) => one.name === name);
  if (benchmark === undefined)
    throw new Error(`a page has a place for "${name}", which is no benchmark`);
  const results = readResults(name, "long");
  if (results === undefined) {
    return `No long run is checked in; \`npm run bench -- ${name}\` measures one.`;
  }
  const some = words?.split(" | ");
  return kind === "ratios" ? ratioTable(benchmark, results, some) : figureTable(results, some);
}

// --- charts ---

function chartsOf(): [file: string, svg: string][] {
  const charts: [string, string][] = BENCHMARKS.flatMap(({ name, chart }) => {
    const results = readResults(name, "long");
    if (results === undefined) return [];
    const file = `docs/bench-${name}.svg`;
    if (results.timeline !== undefined) {
      const title = `${name}: ${results.measured}, ${results.machine}`;
      return [[file, drawTimeline(title, results.timeline)]];
    }
    if (chart === undefined) return [];
    const drawn = results.results.filter(chart.isDrawn);
    return [[file, drawBars(chart.title, drawn, chart.programs(results.versions ?? {}))]];
  });
  return [...charts, ["docs/bench-short.svg", shortChart()]];
}

/** The headlines that have something to compare with. */
function shortChart(): string {
  const run = readRun();
  const compared = run.outcomes.flatMap(({ name }) => {
    const results: Results | undefined = readResults(name, "short");
    if (results === undefined) return [];
    return headlinesOf(name, results)
      .filter(({ figures }) => Object.keys(figures).length > 1 && isDrawable(figures))
      .map((result) => ({ ...result, question: `${name}: ${result.question}` }));
  });
  const own = new Set(compared.map(({ figures }) => Object.keys(figures)[0]));
  const names = new Set([...own, ...compared.flatMap(({ figures }) => Object.keys(figures))]);
  return drawBars(
    `One short run of all benchmarks, ${run.measured.slice(0, 10)}: figures with something to compare with`,
    compared,
    [...names].flatMap((name) =>
      name === undefined ? [] : [{ name, label: name, colour: colourOf(name, own.has(name)) }],
    ),
  );
}

/** Bars of nothing say nothing. */
function isDrawable(figures: Result["figures"]): boolean {
  return Object.values(figures).some(({ median }) => median > 0);
}

const COLOURS: Readonly<Record<string, string>> = { nginx: "#3fa45b", HAProxy: "#a371f7" };

/** `isOwn`: the first figure of a question, which the others are compared with. */
function colourOf(name: string, isOwn: boolean): string {
  return COLOURS[name] ?? (isOwn ? "#2f81f7" : "#d29922");
}
