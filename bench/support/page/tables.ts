/** The figures of benchmarks as tables in Markdown. */
import { BENCHMARKS, type Benchmark } from "../../benchmarks.ts";
import type { Result, Results } from "../results.ts";
import { OTHER_LOAD } from "../rounds.ts";
import type { Outcome } from "../run-benchmark.ts";
import type { ShortRun } from "../short-run.ts";
import type { Summary } from "../statistics.ts";

/** A row for each figure, a column for each program; `words` select those whose question or unit contains one of them. */
export function figureTable(results: Results, words: readonly string[] = [""]): string {
  const rows = results.results.filter(
    ({ question, unit }) =>
      !unit.startsWith(OTHER_LOAD) &&
      words.some((some) => question.includes(some) || unit.includes(some)),
  );
  const names = [...new Set(rows.flatMap(({ figures }) => Object.keys(figures)))];
  const table = [
    line(["what", "unit", ...names]),
    line(["---", "---", ...names.map(() => "---")]),
    ...rows.map(({ question, unit, figures }) =>
      line([question, unit, ...names.map((name) => figureOf(figures[name]))]),
    ),
  ];
  return [measuredOn(results), "", ...table].join("\n");
}

/**
 * Our CPU time and memory as a multiple of each compared program's, as the medians of the ratios within a round. `words` select those
 * whose unit contains one of them.
 */
export function ratioTable(
  benchmark: Benchmark,
  results: Results,
  words: readonly string[] = [""],
): string {
  const rows = results.results.filter(
    ({ unit, ratios }) =>
      /^(µs CPU|KiB)/.test(unit) &&
      ratios !== undefined &&
      words.some((some) => unit.includes(some)),
  );
  const programs = (benchmark.chart?.programs(results.versions ?? {}) ?? []).filter(({ name }) =>
    rows.some(({ ratios }) => ratios?.[name] !== undefined),
  );
  return [
    line(["CPU time or memory as a multiple of", ...programs.map(({ label }) => label), "ours"]),
    line(["---", ...programs.map(() => "---"), "---"]),
    ...rows.map(({ question, unit, ratios = {}, figures }) =>
      line([
        question,
        ...programs.map(({ name }) => ratioOf(ratios[name])),
        `${numberOf(figures["ours"]?.median)} ${unit.split(" ")[0]}`,
      ]),
    ),
    "",
    measuredOn(results),
  ].join("\n");
}

/** The headlines of all short forms, as measured in the last run of all. */
export function shortTable(
  run: ShortRun,
  resultsOf: (name: string) => Results | undefined,
): string {
  const versions = Object.entries(run.versions).map(([name, version]) => `${name} ${version}`);
  const missing = run.missing.map((name) => `${name} is not installed`);
  return [
    `Measured on ${run.measured} UTC on ${run.machine};`,
    `${[...versions, ...missing].join(", ")}. One round of each, so small`,
    "differences say nothing. *Other load*: what other programs took of the cores meanwhile. *Alone*: run later, by itself.",
    "",
    line(["benchmark", "what", "unit", "figure", "compared with", "took", "other load"]),
    line(["---", "---", "---", "---", "---", "---", "---"]),
    ...run.outcomes.flatMap((outcome) => rowsOf(outcome, resultsOf(outcome.name))),
  ].join("\n");
}

function rowsOf(outcome: Outcome, results: Results | undefined): string[] {
  const { name, seconds, otherLoad, failure, isAlone } = outcome;
  const headlines = results === undefined ? [] : headlinesOf(name, results);
  const took = isAlone === true ? `${seconds} s, alone` : `${seconds} s`;
  const first = [`\`${name}\``, ...["", "", "", ""], took, `${otherLoad} %`];
  if (failure !== undefined) first[1] = `**failed**: ${failure}`;
  const rows = headlines.map(({ question, unit, figures }) => {
    const [own, ...others] = Object.entries(figures);
    const compared = others.map(([other, figure]) => `${other} ${numberOf(figure.median)}`);
    return ["", question, unit, numberOf(own?.[1].median), compared.join(", "), "", ""];
  });
  if (failure !== undefined || rows.length === 0) return [line(first), ...rows.map(line)];
  const [row = [], ...more] = rows;
  return [line(row.map((cell, index) => cell || (first[index] ?? ""))), ...more.map(line)];
}

/** The results that a benchmark's declaration puts first. */
export function headlinesOf(name: string, { results }: Results): Result[] {
  const headline = BENCHMARKS.find((one) => one.name === name)?.headline ?? [];
  return headline.flatMap((wanted) =>
    results.filter(
      ({ question, unit }) =>
        question === wanted.question &&
        unit !== OTHER_LOAD &&
        (wanted.unit === undefined || unit === wanted.unit),
    ),
  );
}

function measuredOn({ measured, machine, node, versions = {}, otherLoad }: Results): string {
  const programs = Object.entries(versions)
    .filter(([name]) => name !== "ours")
    .map(([name, version]) => `${name} ${version}`);
  const load =
    otherLoad === undefined
      ? "the other load was not recorded"
      : `other programs took ${otherLoad} % of the cores`;
  const against = [`Node ${node.slice(1)}`, ...programs].join(", ");
  return `Measured on ${measured} on ${machine}; ${against}; ${load}.`;
}

function figureOf(figure: Summary | undefined): string {
  if (figure === undefined) return "";
  const { median, min, max } = figure;
  const [middle, least, most] = [numberOf(median), numberOf(min), numberOf(max)];
  return least === most ? middle : `${middle} (${least}–${most})`;
}

function ratioOf(ratio: Summary | undefined): string {
  return ratio === undefined ? "" : ratio.median.toFixed(2);
}

/** Three digits say what can be said; null is what JSON has for a figure that does not exist. */
function numberOf(value: number | null | undefined): string {
  if (value === undefined || value === null || Number.isNaN(value)) return "–";
  const rounded = Number.isInteger(value) ? value : Number(value.toPrecision(3));
  return rounded.toLocaleString("en", { maximumFractionDigits: 4 });
}

function line(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
}
