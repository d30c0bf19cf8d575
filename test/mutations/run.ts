/**
 * `npm run mutations`: plants each fault of faults.ts in a copy of the sources and runs the tests that must notice it. Prints one
 * line for each; fails when a fault goes unnoticed. `npm run mutations -- TEXT` only plants those whose names contain TEXT.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { FAULTS, type Fault } from "./faults.ts";
import { plant } from "./plant.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const COPIED = ["balancer", "worker", "shared", "edge", "bench", "test", "docs", "deploy"];
const FILES = ["package.json", "package-lock.json", "tsconfig.json", "vitest.config.ts"];

/** Which test noticed; undefined: none did. */
function noticed(fault: Fault, folder: string): string | undefined {
  const file = join(folder, fault.file);
  const text = readFileSync(file, "utf8");
  writeFileSync(file, plant(fault, text));
  try {
    const vitest = join(root, "node_modules/vitest/vitest.mjs");
    const args = [vitest, "run", "--bail=1", "--maxWorkers=1", "--reporter=json", ...fault.tests];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, {
      cwd: folder,
      encoding: "utf8",
      maxBuffer: 2 ** 28,
    });
    if (status === 0) return undefined;
    const title = failedTest(stdout);
    if (title === undefined) throw new Error(`the tests did not run: ${stdout}${stderr}`);
    return title;
  } finally {
    writeFileSync(file, text);
  }
}

interface Report {
  readonly testResults: readonly {
    readonly assertionResults: readonly { readonly fullName: string; readonly status: string }[];
  }[];
}

/** The first one in what Vitest reports as JSON. */
function failedTest(report: string): string | undefined {
  const { testResults } = JSON.parse(report.slice(report.indexOf("{"))) as Report;
  const tests = testResults.flatMap(({ assertionResults }) => assertionResults);
  return tests.find(({ status }) => status === "failed")?.fullName;
}

// Beside the packages, which the copy uses.
const folder = mkdtempSync(join(root, "dist.mutations-"));
process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));
for (const name of [...COPIED, ...FILES]) {
  cpSync(join(root, name), join(folder, name), { recursive: true });
}

const chosen = FAULTS.filter(({ name }) => name.includes(process.argv[2] ?? ""));
let unnoticed = 0;
for (const fault of chosen) {
  const title = noticed(fault, folder);
  if (title === undefined) unnoticed++;
  process.stdout.write(`${title === undefined ? "UNNOTICED" : "noticed"}  ${fault.name}\n`);
  if (title !== undefined) process.stdout.write(`           by: ${title}\n`);
}
process.stdout.write(`${chosen.length - unnoticed} of ${chosen.length} faults noticed\n`);
process.exitCode = unnoticed === 0 ? 0 : 1;
