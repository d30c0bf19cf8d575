/** Writes the results of a benchmark to bench/results/<name>.json, with date and machine. */
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import type { Summary } from "./statistics.ts";

export interface Result {
  readonly question: string;
  readonly unit: string;
  readonly figures: Readonly<Record<string, Summary>>;
  /** Ours divided by the other's, of each round, by the name of the other. */
  readonly ratios?: Readonly<Record<string, Summary>>;
}

const FOLDER = new URL("../results/", import.meta.url);

/** `versions` are those of the compared programs. */
export function writeResults(
  name: string,
  results: readonly Result[],
  versions?: Readonly<Record<string, string>>,
): void {
  const machine = `${cpus().length} cores, ${cpus()[0]?.model.trim()}`;
  const measured = new Date().toISOString().slice(0, 10);
  mkdirSync(FOLDER, { recursive: true });
  writeFileSync(
    new URL(`${name}.json`, FOLDER),
    `${JSON.stringify({ measured, machine, node: process.version, versions, results }, undefined, 2)}\n`,
  );
}
