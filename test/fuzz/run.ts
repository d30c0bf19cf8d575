/**
 * `npm run fuzz -- --seconds 3600 --seed 7` plays random traffic for an hour. `--from 1234 --cases 1` replays one case of a
 * seed. Exits with status 1 and the seed after a failure.
 */
import { parseArgs } from "node:util";
import { fuzz } from "./fuzzer.ts";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "60" },
    seed: { type: "string" },
    from: { type: "string", default: "0" },
    cases: { type: "string" },
  },
});
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31));
const from = Number(values.from);
const endMs = performance.now() + Number(values.seconds) * 1000;
const last = values.cases === undefined ? Number.POSITIVE_INFINITY : from + Number(values.cases);

/** Bounds memory: the test keeps its ends of all connections until the stage closes. */
const CASES_OF_ONE_STAGE = 10_000;

process.stdout.write(`seed ${seed}\n`);
for (const event of ["uncaughtException", "unhandledRejection"]) {
  process.on(event, (error: unknown) => {
    process.stderr.write(`seed ${seed}: ${event}: ${String(error)}\n`);
    process.exit(1);
  });
}
let played = 0;
let wrong: readonly string[] = [];
while (wrong.length === 0 && mayContinue(from + played)) {
  const first = from + played;
  const result = await fuzz({
    seed,
    from: first,
    mayContinue: (index) => index < first + CASES_OF_ONE_STAGE && mayContinue(index),
  });
  played += result.played;
  wrong = result.wrong;
}
for (const line of wrong) process.stderr.write(`${line}\n`);
process.stdout.write(`${played} cases, ${wrong.length} failures\n`);
process.exit(wrong.length === 0 ? 0 : 1);

function mayContinue(index: number): boolean {
  return index < last && performance.now() < endMs;
}
