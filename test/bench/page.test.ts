/** The figures in the documents are those of the results that are checked in, and every benchmark is on the page. */
import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { BENCHMARKS } from "../../bench/benchmarks.ts";
import { figureTable } from "../../bench/support/page/tables.ts";
import { generatedFiles } from "../../bench/support/page/write.ts";

const root = new URL("../../", import.meta.url);
/** For the page itself, and for what the declared times leave out. */
const RESERVED_S = 30;

test("tables and charts of benchmarks are what `npm run docs` writes from bench/results/", () => {
  for (const [file, text] of generatedFiles()) {
    expect(readFileSync(new URL(file, root), "utf8"), file).toBe(text);
  }
});

test("each file of bench/ is declared as a benchmark, so that it is on the page", () => {
  const files = readdirSync(new URL("bench/", root))
    .filter((file) => file.endsWith(".ts"))
    .map((file) => file.slice(0, -".ts".length));
  const own = ["run", "benchmarks"];
  expect(BENCHMARKS.map(({ name }) => name).sort()).toEqual(
    files.filter((file) => !own.includes(file)).sort(),
  );
});

test("the short forms of all benchmarks take less than ten minutes together", () => {
  const total = BENCHMARKS.reduce((sum, { seconds }) => sum + seconds, 0);
  expect(total).toBeLessThanOrEqual(600 - RESERVED_S);
});

test("a table has a row for each figure, a column for each program, and says where it was measured", () => {
  const one = (value: number) => ({ median: value, min: value, max: value });
  const table = figureTable({
    measured: "2026-01-02",
    machine: "2 cores, a CPU",
    node: "v20.1.0",
    versions: { ours: "20.1.0", nginx: "1.2.3" },
    otherLoad: 4,
    results: [
      {
        question: "small GET",
        unit: "µs",
        figures: { ours: { median: 12.345, min: 10, max: 1234 }, nginx: one(9) },
      },
      { question: "memory", unit: "KiB", figures: { ours: one(0.12345) } },
    ],
  });
  expect(table.split("\n")).toEqual([
    "Measured on 2026-01-02 on 2 cores, a CPU; Node 20.1.0, nginx 1.2.3; other programs took 4 % of the cores.",
    "",
    "| what | unit | ours | nginx |",
    "| --- | --- | --- | --- |",
    "| small GET | µs | 12.3 (10–1,234) | 9 |",
    "| memory | KiB | 0.123 |  |",
  ]);
});
