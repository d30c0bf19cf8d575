/** The last run of all short forms: bench/results/short/run.json. */
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import type { Outcome } from "./run-benchmark.ts";

export interface ShortRun {
  /** Day and time, in UTC. */
  readonly measured: string;
  readonly machine: string;
  /** Of Node and of the programs that benchmarks start; undefined where they are not installed. */
  readonly versions: Readonly<Record<string, string>>;
  readonly missing: readonly string[];
  readonly outcomes: readonly Outcome[];
}

const FILE = new URL("../results/short/run.json", import.meta.url);

/** Programs beside Node, and how they say their version. */
const PROGRAMS: Readonly<Record<string, readonly string[]>> = {
  nginx: ["nginx", "-v"],
  HAProxy: ["haproxy", "-v"],
  Redis: ["redis-server", "--version"],
  Chromium: ["chromium", "--version"],
  wrk: ["wrk", "-v"],
};

export function writeRun(outcomes: readonly Outcome[]): void {
  const found = Object.entries(PROGRAMS).map(
    ([name, command]) => [name, versionOf(command)] as const,
  );
  const run: ShortRun = {
    measured: new Date().toISOString().slice(0, 16).replace("T", " "),
    machine: `${cpus().length} cores, ${cpus()[0]?.model.trim()}`,
    versions: Object.fromEntries([
      ["Node", process.version.slice(1)],
      ...found.flatMap(([name, version]) => (version === undefined ? [] : [[name, version]])),
    ]),
    missing: found.flatMap(([name, version]) => (version === undefined ? [name] : [])),
    outcomes: outcomes.map((one) => ({ ...one, seconds: Math.round(one.seconds) })),
  };
  mkdirSync(new URL(".", FILE), { recursive: true });
  write(run);
}

/** Of a benchmark whose short form was run alone, after the run of all. */
export function replaceOutcome(outcome: Outcome): void {
  const run = readRun();
  const added: Outcome = { ...outcome, seconds: Math.round(outcome.seconds), isAlone: true };
  const isNew = !run.outcomes.some(({ name }) => name === added.name);
  const outcomes = run.outcomes.map((one) => (one.name === added.name ? added : one));
  write({ ...run, outcomes: isNew ? [...outcomes, added] : outcomes });
}

function write(run: ShortRun): void {
  writeFileSync(FILE, `${JSON.stringify(run, undefined, 1)}\n`);
}

export function readRun(): ShortRun {
  return JSON.parse(readFileSync(FILE, "utf8")) as ShortRun;
}

/** wrk says its version with a failure. */
function versionOf([program = "", ...args]: readonly string[]): string | undefined {
  const { error, stdout, stderr } = spawnSync(program, args, { encoding: "utf8" });
  return error === undefined ? /\d+(\.\d+)+/.exec(stdout + stderr)?.[0] : undefined;
}
