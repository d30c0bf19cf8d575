// `npm test`: installs what is missing, builds, runs the tests, and ends with a line `N passed, N failed`. Plain
// JavaScript, because it runs before anything is there. Arguments are passed on to Vitest. `npm run test:unit` needs neither
// Redis nor programs of ours.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { installMissing } from "../edge/install.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));

try {
  installMissing();
  if (!process.argv.includes("units")) {
    installRedis();
    // Not imported above: it needs a package, which may only have been installed just now.
    const { buildWhenStale } = await import("../edge/build.mjs");
    buildWhenStale();
  }
} catch (error) {
  process.stderr.write(`${error.message}\n0 passed, 1 failed\n`);
  process.exit(1);
}
process.exitCode = runTests(process.argv.slice(2));

/** The tests of the store need a real redis-server; TEST_REDIS_SERVER names one by its path. */
function installRedis() {
  const named = process.env.TEST_REDIS_SERVER;
  if (named !== undefined && !works(named, ["--version"])) {
    throw new Error(
      `TEST_REDIS_SERVER=${named} cannot be run; name a redis-server or valkey-server`,
    );
  }
  if (named !== undefined || works("redis-server", ["--version"])) return;
  const byHand = "install it (Debian, Ubuntu: sudo apt-get install redis-server) and run again";
  if (process.getuid?.() !== 0 || !works("apt-get", ["--version"])) {
    throw new Error(`the tests need redis-server; ${byHand}`);
  }
  process.stderr.write("installing redis-server with apt-get (once)…\n");
  // RUNLEVEL=1: Debian's package would start a server of its own on the standard port.
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" };
  const install = ["install", "-y", "-q", "--no-install-recommends", "redis-server"];
  for (const args of [["update", "-q"], install]) {
    spawnSync("apt-get", args, { stdio: ["ignore", 2, 2], env });
  }
  if (!works("redis-server", ["--version"])) {
    throw new Error(`apt-get could not install redis-server (see above); ${byHand}`);
  }
}

function works(command, args) {
  return spawnSync(command, args, { stdio: "ignore" }).status === 0;
}

function runTests(args) {
  const folder = mkdtempSync(join(tmpdir(), "edge-test-"));
  const file = join(folder, "results.json");
  try {
    const vitest = join(root, "node_modules/vitest/vitest.mjs");
    const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${file}`];
    const result = spawnSync(process.execPath, [vitest, "run", ...reporters, ...args], {
      cwd: root,
      stdio: "inherit",
    });
    const { passed, failed } = count(file);
    // Errors outside of tests (a file that cannot be loaded, an unhandled rejection) fail the run too.
    const shownFailed = result.status === 0 ? failed : Math.max(failed, 1);
    process.stdout.write(`${passed} passed, ${shownFailed} failed\n`);
    return shownFailed === 0 ? 0 : 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function count(file) {
  try {
    const results = JSON.parse(readFileSync(file, "utf8"));
    return { passed: results.numPassedTests, failed: results.numFailedTests };
  } catch {
    return { passed: 0, failed: 0 };
  }
}
