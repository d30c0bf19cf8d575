/** Results of a benchmark as a file: bench/results/<name>.json, with what they were measured on. */
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import type { Summary } from "./statistics.ts";

export interface Result {
  readonly question: string;
  readonly unit: string;
  readonly figures: Readonly<Record<string, Summary>>;
}

const FOLDER = new URL("../results/", import.meta.url);

export function writeResults(name: string, results: readonly Result[]): void {
  const machine = `${cpus().length} cores, ${cpus()[0]?.model.trim()}`;
  const measured = new Date().toISOString().slice(0, 10);
  mkdirSync(FOLDER, { recursive: true });
  writeFileSync(
    new URL(`${name}.json`, FOLDER),
    `${JSON.stringify({ measured, machine, node: process.version, results }, undefined, 2)}\n`,
  );
}
