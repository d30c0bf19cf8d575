/**
 * `npm run bench` runs the short forms of all benchmarks, within ten minutes, and writes the page (README.md) from their
 * results. `npm run bench -- ring` runs the long form of the named ones, `npm run bench -- --short ring` their short form, and
 * `npm run bench -- page` only writes the page again.
 *
 * Each benchmark has a process of its own: one that fails, hangs or moves to one core does not disturb the next one. When the
 * ten minutes are over, what is left is ended as soon as it begins, and reported like that.
 */

import { buildOnce } from "../test/support/build.ts";
import { BENCHMARKS, type Benchmark } from "./benchmarks.ts";
import { writePage } from "./support/page/write.ts";
import { readResults } from "./support/results.ts";
import { type Outcome, runBenchmark } from "./support/run-benchmark.ts";
import { replaceOutcome, writeRun } from "./support/short-run.ts";

const TOTAL_S = 600;
/** A benchmark that takes this many times its usual time is ended. */
const PATIENCE = 2.5;
/** For the page, and for the end of a benchmark. */
const RESERVED_S = 5;

async function main(args: readonly string[]): Promise<void> {
  const names = args.filter((arg) => arg !== "--short");
  if (names[0] === "page") {
    writePage();
  } else if (names.length === 0) {
    await runAll();
  } else {
    await runNamed(namedOnes(names), args.includes("--short"));
  }
}

async function runAll(): Promise<void> {
  const startMs = performance.now();
  const leftS = (): number => TOTAL_S - RESERVED_S - (performance.now() - startMs) / 1000;
  await buildOnce();
  const outcomes: Outcome[] = [];
  for (const benchmark of BENCHMARKS) {
    const { name, seconds } = benchmark;
    process.stdout.write(`\n# ${name}, short form\n`);
    const limitMs = Math.max(0, Math.floor(Math.min(PATIENCE * seconds, leftS()) * 1000));
    const limit = AbortSignal.timeout(limitMs);
    outcomes.push(withFigures(await runBenchmark(name, { form: "short", limit })));
  }
  const seconds = (performance.now() - startMs) / 1000;
  writeRun(outcomes);
  writePage();
  const failed = outcomes.filter(({ failure }) => failure !== undefined);
  process.stdout.write(
    `\n${outcomes.length - failed.length} of ${outcomes.length} benchmarks in ${(seconds / 60).toFixed(1)} minutes; the figures are in bench/README.md\n`,
  );
  for (const { name, failure } of failed) process.stdout.write(`${name}: ${failure}\n`);
  if (failed.length > 0) process.exitCode = 1;
}

/** A benchmark whose programs are not installed says so, and ends without results. */
function withFigures(outcome: Outcome): Outcome {
  if (outcome.failure !== undefined || readResults(outcome.name, "short") !== undefined)
    return outcome;
  return { ...outcome, failure: "no results: a program that it needs is not installed" };
}

async function runNamed(benchmarks: readonly Benchmark[], isShort: boolean): Promise<void> {
  for (const { name } of benchmarks) {
    process.stdout.write(`\n# ${name}\n`);
    const outcome = await runBenchmark(name, { form: isShort ? "short" : "long" });
    if (isShort) replaceOutcome(withFigures(outcome));
    if (outcome.failure !== undefined) process.exitCode = 1;
  }
  writePage();
}

function namedOnes(names: readonly string[]): Benchmark[] {
  return names.map((name) => {
    const found = BENCHMARKS.find((one) => one.name === name);
    if (found !== undefined) return found;
    const all = BENCHMARKS.map((one) => one.name).join(", ");
    throw new Error(`unknown benchmark "${name}"; use one of: ${all}, page`);
  });
}

await main(process.argv.slice(2));
