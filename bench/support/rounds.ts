/** Figures of interleaved rounds: how they are summarized and printed, with the ratio of ours to each peer in the same round. */
import type { Result } from "./results.ts";
import { type Summary, summarize, summarizeRatios } from "./statistics.ts";

/** Figures by their units. */
export type Figures = Readonly<Record<string, number>>;

/** Figures of each round, by the name of the program. */
export type Rounds = ReadonlyMap<string, readonly Figures[]>;

/** Share of the measured core that other programs took meanwhile. It says nothing about the measured programs. */
export const OTHER_LOAD = "% other load on the core";

/** One result for each unit; a program without a figure in a unit is left out. `ours` is the name that ratios refer to. */
export function resultsOf(question: string, rounds: Rounds, ours: string): Result[] {
  const own = rounds.get(ours) ?? [];
  return Object.keys(own[0] ?? {}).map((unit) => {
    const figures: Record<string, Summary> = {};
    const ratios: Record<string, Summary> = {};
    for (const [name, all] of rounds) {
      const values = all.map((figure) => figure[unit] ?? Number.NaN);
      if (values.some(Number.isNaN)) continue;
      figures[name] = summarize(values);
      if (name === ours) continue;
      ratios[name] = summarizeRatios(
        own.map((figure) => figure[unit] ?? Number.NaN),
        values,
      );
    }
    return { question, unit, figures, ratios };
  });
}

export function printResults(question: string, results: readonly Result[]): void {
  process.stdout.write(`\n${question}\n`);
  for (const { unit, figures, ratios = {} } of results) {
    process.stdout.write(`  ${unit}\n`);
    for (const [name, summary] of Object.entries(figures)) {
      const ratio = ratios[name];
      const beside =
        ratio === undefined || unit.startsWith(OTHER_LOAD)
          ? ""
          : `   ours/${name} ${spread(ratio, 2)}`;
      process.stdout.write(`    ${name.padEnd(12)}${spread(summary, 1).padEnd(26)}${beside}\n`);
    }
  }
}

export function spread({ median, min, max }: Summary, digits: number): string {
  return `${median.toFixed(digits)} (${min.toFixed(digits)}–${max.toFixed(digits)})`;
}
