/**
 * `npm run dev` in a copy of the sources: what is changed runs, what does not build changes nothing, and Ctrl-C ends all.
 */
import { execFileSync } from "node:child_process";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { startEdge } from "../support/edge-process.ts";
import { stillRunning } from "../support/processes.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const COPIED = [
  "balancer",
  "worker",
  "shared",
  "edge",
  "package.json",
  "package-lock.json",
  "tsconfig.json",
];
/** Four builds. */
const TEST_MS = 180_000;
const WAIT_MS = 60_000;

test("npm run dev starts the edge again with each change of a source, and goes on with the former one while the sources do not build", {
  timeout: TEST_MS,
}, async () => {
  const folder = tempFolder();
  for (const name of COPIED) cpSync(join(root, name), join(folder, name), { recursive: true });
  copyPackages(folder);
  const edge = await startEdge({
    root: folder,
    by: "npm run dev",
    args: ["--worker-count", "1"],
    startTimeoutMs: WAIT_MS,
  });
  const summary = join(folder, "edge/start/summary.ts");
  const text = readFileSync(summary, "utf8");
  const isAlive = async (): Promise<boolean> => (await fetch(`${edge.httpUrl}/api/meta`)).ok;
  const prints = (line: string): Promise<unknown> =>
    until(`it prints "${line}"`, () => edge.output().includes(line), WAIT_MS).catch(
      (error: unknown) => {
        throw new Error(`it printed:\n${edge.output()}`, { cause: error });
      },
    );

  writeFileSync(summary, `${text}\nconst unfinished = ;\n`);
  await prints("dev: not built");
  expect(await isAlive()).toBe(true);

  writeFileSync(summary, text.replaceAll(" is ready", " has the change"));
  await prints(" has the change");
  expect(await isAlive()).toBe(true);

  const started = edge.descendants();
  await edge.pressCtrlC();
  await until("all of its processes have ended", () => stillRunning(started).length === 0);
});

/** By hard links where the folder is on the same disk. No link to the folder: the build knows packages by their real path. */
function copyPackages(folder: string): void {
  const from = join(root, "node_modules");
  try {
    execFileSync("cp", ["-al", from, folder], { stdio: "ignore" });
  } catch {
    execFileSync("cp", ["-a", from, folder]);
  }
}
