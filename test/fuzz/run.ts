/**
 * `npm run fuzz -- --seconds 3600 --seed 7`: plays random traffic as long as it may. `--from 1234 --cases 1` plays one case of
 * a seed again. Ends with status 1 and the seed when something was wrong.
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

process.stdout.write(`seed ${seed}\n`);
for (const event of ["uncaughtException", "unhandledRejection"]) {
  process.on(event, (error: unknown) => {
    process.stderr.write(`seed ${seed}: ${event}: ${String(error)}\n`);
    process.exit(1);
  });
}
const { played, wrong } = await fuzz({
  seed,
  from,
  goesOn: (index) => index < last && performance.now() < endMs,
});
for (const line of wrong) process.stderr.write(`${line}\n`);
process.stdout.write(`${played} cases, ${wrong.length} wrong\n`);
process.exit(wrong.length === 0 ? 0 : 1);
