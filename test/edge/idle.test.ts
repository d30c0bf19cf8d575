/**
 * Keeps the memory of an idle process small; it is measured in docs/operators/capacity.md.
 */
import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { getHeapStatistics } from "node:v8";
import { expect, test } from "vitest";
import { releaseStartGarbage } from "../../shared/process/free-start-memory.ts";
import { buildOnce } from "../support/build.ts";
import { loadedModules } from "../support/bundle.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const run = promisify(execFile);

const PROGRAMS = ["balancer", "worker", "edge"];

/** Modules of megabytes that only some processes need at some time. */
const ON_DEMAND = ["node_modules/prom-client/", "node_modules/hot-shots/", "node_modules/yaml/"];

const TELL_LOADED = `data:text/javascript,${encodeURIComponent(`
  process.on("exit", () => console.error(JSON.stringify(process.moduleLoadList)));
`)}`;

test("a program does not load at start the large modules that it may never need", async () => {
  await buildOnce();
  for (const program of ["balancer", "worker"]) {
    const args = ["--import", TELL_LOADED, `dist/${program}/main.js`, "--version"];
    const { stderr } = await run(process.execPath, args, { cwd: ROOT });
    const ofNode = JSON.parse(stderr) as string[];
    expect(ofNode.filter((name) => name.includes("deps/undici"))).toEqual([]);
    const loaded = loadedModules(`dist/${program}/main.js`);
    expect(loaded.some((name) => name.includes("node_modules/ioredis/"))).toBe(true);
    const needless = ON_DEMAND.filter((part) => loaded.some((name) => name.includes(part)));
    expect([program, ...needless]).toEqual([program]);
  }
}, 120_000);

test("programs are ASCII: one other character would double what their text takes in memory", async () => {
  await buildOnce();
  const files = [...PROGRAMS.map((name) => `${name}/main.js`), ...chunks()];
  const others = files.filter((file) =>
    /\P{ASCII}/u.test(readFileSync(`${ROOT}dist/${file}`, "utf8")),
  );
  expect(others).toEqual([]);
  expect(files.length).toBeGreaterThan(PROGRAMS.length);
});

function chunks(): string[] {
  return readdirSync(`${ROOT}dist/chunks`).map((file) => `chunks/${file}`);
}

test("memory that became garbage at the start is returned to the system", () => {
  const before = heapBytesWithGarbage();
  releaseStartGarbage();
  expect(before - getHeapStatistics().total_physical_size).toBeGreaterThan(20_000_000);
});

/** In a function of its own, so that nothing refers to the garbage any more. */
function heapBytesWithGarbage(): number {
  const garbage = Array.from({ length: 400_000 }, (_, index) => ({ index, text: [index] }));
  return garbage.length === 0 ? 0 : getHeapStatistics().total_physical_size;
}

test("a program cannot trigger garbage collection after its start", () => {
  releaseStartGarbage();
  expect(globalThis).not.toHaveProperty("gc");
});
