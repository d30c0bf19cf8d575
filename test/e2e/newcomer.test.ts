/**
 * The README's two commands, in a copy of the project without node_modules or a build.
 */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { startEdge } from "../support/edge-process.ts";
import { outputOf } from "../support/output.ts";
import { tempFolder } from "../support/temp-folder.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
/** npm may have to download every package, at half its usual speed. */
const TEST_MS = 300_000;
/** Less than that, so that a start that hangs is reported with its output. */
const START_MS = 240_000;
/**
 * The packages were installed for these tests a moment ago: asking the registry about each of them again proves nothing, and
 * fails the test when one request hangs.
 */
const NPM_CACHE = { npm_config_prefer_offline: "true" };
/** A test file that needs neither services nor processes. */
const ONE_TEST_FILE = "test/edge/start/summary.test.ts";

/** CI itself begins with the other order: its first command is `npm test`, in a fresh clone. */
test("npm start, then npm test, work in a fresh clone", { timeout: TEST_MS }, async () => {
  const clone = freshClone();
  await expectToStart(clone);
  await expectTestsToPass(clone);
});

test("CI runs the README's test command first", () => {
  const commands = readFileSync(join(root, ".ci/run"), "utf8")
    .split("\n")
    .filter((line) => line.startsWith("npm "));
  expect(commands).toEqual([readmeCommand("Test it"), "npm run check"]);
});

/** A copy of exactly the files that a commit of the working tree would contain. Removed after the test. */
function freshClone(): string {
  const folder = tempFolder();
  const list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
  const files = execFileSync("git", list, { cwd: root, encoding: "utf8" }).split("\0");
  for (const file of files.filter((name) => name !== "" && existsSync(join(root, name)))) {
    cpSync(join(root, file), join(folder, file));
  }
  expect(existsSync(join(folder, "node_modules"))).toBe(false);
  return folder;
}

async function expectTestsToPass(clone: string): Promise<void> {
  const { status, output } = await runInShell(
    `${readmeCommand("Test it")} -- ${ONE_TEST_FILE}`,
    clone,
  );
  expect(output).toMatch(/^[1-9]\d* passed, 0 failed$/m);
  expect(status).toBe(0);
}

async function expectToStart(clone: string): Promise<void> {
  expect(readmeCommand("Run it")).toBe("npm start");
  const edge = await startEdge({
    by: "npm start",
    root: clone,
    env: NPM_CACHE,
    startTimeoutMs: START_MS,
  });
  expect((await fetch(`${edge.httpUrl}/ct-health/`)).status).toBe(200);
  await edge.dispose();
}

/** The first command under this heading of the README. */
function readmeCommand(heading: string): string {
  const readme = readFileSync(join(root, "README.md"), "utf8");
  const command = new RegExp(`^## ${heading}\\n[^]*?^\`\`\`sh\\n(.+)\\n`, "m").exec(readme)?.[1];
  if (command === undefined) throw new Error(`README.md has no command under "${heading}"`);
  return command;
}

/** Runs a command line to its end, without the variables by which npm and Vitest detect that they are nested. */
async function runInShell(
  command: string,
  cwd: string,
): Promise<{ status: number | null; output: string }> {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !/^(CT_|npm_|VITEST|NODE_ENV)/.test(name),
  );
  const child = spawn("sh", ["-c", command], {
    cwd,
    env: { ...Object.fromEntries(inherited), ...NPM_CACHE },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const output = outputOf(child);
  const [status] = (await once(child, "close")) as [number | null];
  return { status, output: output.all };
}
