/**
 * The results of a benchmark, with date and machine: bench/results/<name>.json, of the short form bench/results/short/<name>.json.
 * They are checked in, because pages and charts are generated from them (page/).
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { FORM, type Form } from "./sizes.ts";
import type { Summary } from "./statistics.ts";

export interface Result {
  readonly question: string;
  readonly unit: string;
  readonly figures: Readonly<Record<string, Summary>>;
  /** Ours divided by the other's, of each round, by the name of the other. */
  readonly ratios?: Readonly<Record<string, Summary>>;
}

/** Figures over the time of a run, and what happened meanwhile. */
export interface Timeline {
  readonly marks: readonly { readonly atS: number; readonly label: string }[];
  readonly panels: readonly TimelinePanel[];
}

export interface TimelinePanel {
  readonly title: string;
  readonly unit: string;
  readonly lines: readonly {
    readonly name: string;
    /** A line is interrupted where `run` changes: another process. */
    readonly points: readonly {
      readonly atS: number;
      readonly value: number;
      readonly run: number;
    }[];
  }[];
}

/** The contents of a file. */
export interface Results {
  readonly measured: string;
  readonly machine: string;
  readonly node: string;
  /** Of the compared programs, by name. */
  readonly versions?: Readonly<Record<string, string>>;
  /** What other programs took of the machine's cores meanwhile, in %. */
  readonly otherLoad?: number;
  readonly results: readonly Result[];
  readonly timeline?: Timeline;
}

const FOLDER = new URL("../results/", import.meta.url);

/** `versions` are those of the compared programs. */
export function writeResults(
  name: string,
  results: readonly Result[],
  versions?: Readonly<Record<string, string>>,
  timeline?: Timeline,
): void {
  const written: Results = {
    measured: new Date().toISOString().slice(0, 10),
    machine: `${cpus().length} cores, ${cpus()[0]?.model.trim()}`,
    node: process.version,
    ...(versions !== undefined && { versions }),
    results,
    ...(timeline !== undefined && { timeline }),
  };
  mkdirSync(folderOf(FORM), { recursive: true });
  write(name, FORM, written);
}

/** Of a short form. */
export function forgetResults(name: string): void {
  rmSync(fileOf(name, "short"), { force: true });
}

/** Adds what the benchmark itself does not know; without results it does nothing. */
export function noteOtherLoad(name: string, form: Form, otherLoad: number): void {
  const results = readResults(name, form);
  if (results !== undefined) write(name, form, { ...results, otherLoad });
}

/** Undefined if the benchmark has not been run in this form. */
export function readResults(name: string, form: Form): Results | undefined {
  if (!existsSync(fileOf(name, form))) return undefined;
  return JSON.parse(readFileSync(fileOf(name, form), "utf8")) as Results;
}

function write(name: string, form: Form, { results, timeline, ...head }: Results): void {
  const ordered = { ...head, results, ...(timeline !== undefined && { timeline }) };
  const text = JSON.stringify(ordered, shortNumber, 1);
  // One line for each figure and point.
  const short = text.replaceAll(/\{[^{}[\]]*\}/g, (object) => object.replaceAll(/\s+/g, " "));
  writeFileSync(fileOf(name, form), `${short}\n`);
}

function folderOf(form: Form): URL {
  return form === "long" ? FOLDER : new URL("short/", FOLDER);
}

function fileOf(name: string, form: Form): URL {
  return new URL(`${name}.json`, folderOf(form));
}

/** Digits beyond the fourth one are noise. */
function shortNumber(_key: string, value: unknown): unknown {
  return typeof value === "number" ? rounded(value) : value;
}

function rounded(value: number): number {
  return Number.isInteger(value) ? value : Number(value.toPrecision(4));
}
