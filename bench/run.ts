/** `npm run bench` runs every benchmark, `npm run bench -- ring` the named ones. One file per benchmark. */
import { readdirSync } from "node:fs";

const folder = new URL(".", import.meta.url);
const all = readdirSync(folder)
  .filter((file) => file.endsWith(".ts") && file !== "run.ts")
  .map((file) => file.slice(0, -".ts".length))
  .sort();
const names = process.argv.length > 2 ? process.argv.slice(2) : all;

const unknown = names.find((name) => !all.includes(name));
if (unknown !== undefined) {
  process.stderr.write(`unknown benchmark "${unknown}"; use one of: ${all.join(", ")}\n`);
  process.exit(1);
}
for (const name of names) {
  process.stdout.write(`\n# ${name}\n`);
  const benchmark = (await import(new URL(`${name}.ts`, folder).href)) as { run(): Promise<void> };
  await benchmark.run();
}
