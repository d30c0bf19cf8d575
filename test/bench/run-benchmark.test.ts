/** How the runner of the benchmarks treats those that fail and those that do not end. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type Outcome, runBenchmark } from "../../bench/support/run-benchmark.ts";
import { descendantsOf, stillRunning } from "../support/processes.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";

test("a benchmark that fails is reported with its message, and does not end the runner", async () => {
  const outcome = await run("throw new Error('the peer does not listen');");
  expect(outcome.failure).toBe("the peer does not listen");
});

test("a benchmark learns that it runs in its short form", async () => {
  const outcome = await run(
    "if (process.env.BENCH_FORM !== 'short') throw new Error('it is long');",
  );
  expect(outcome.failure).toBeUndefined();
});

test("a benchmark that does not end is ended together with the processes that it has started", async () => {
  const limit = new AbortController();
  const before = new Set(descendantsOf(process.pid).map(({ pid }) => pid));
  const ended = run(
    `const { spawn } = await import("node:child_process");
     spawn("sleep", ["1000"]);
     await new Promise((resolve) => setTimeout(resolve, 1_000_000));`,
    limit.signal,
  );
  const started = await until("its child runs", () => {
    const added = descendantsOf(process.pid).filter(({ pid }) => !before.has(pid));
    return added.some(({ name }) => name === "sleep") && added;
  });
  limit.abort();
  expect((await ended).failure).toMatch(/^ended after \d+ s$/);
  await until("its processes have ended", () => stillRunning(started).length === 0);
});

async function run(body: string, limit?: AbortSignal): Promise<Outcome> {
  const folder = tempFolder();
  const file = join(folder, "some.mts");
  writeFileSync(file, `export async function run() { ${body} }\n`);
  return await runBenchmark("some-benchmark-of-a-test", {
    form: "short",
    file,
    ...(limit && { limit }),
  });
}
