// `npm run test:upgrade -- COMMIT [ARGUMENTS OF VITEST]`: prepares a copy of that commit, installed and built by its own scripts, and
// runs the checks of upgrades with it.
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildWhenStale } from "../../edge/build.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const [given, ...args] = process.argv.slice(2);
if (given === undefined) {
  process.stderr.write("name the version that is upgraded: npm run test:upgrade -- v0.1.0\n");
  process.exit(1);
}
const git = (...words) => execFileSync("git", words, { cwd: root, encoding: "utf8" }).trim();
const commit = git("rev-parse", "--verify", `${given}^{commit}`);
const former = join(root, "node_modules/.cache/former", commit);
if (!existsSync(join(former, "dist"))) {
  mkdirSync(former, { recursive: true });
  const archive = execFileSync("git", ["archive", commit], { cwd: root, maxBuffer: 2 ** 30 });
  execFileSync("tar", ["-x", "-C", former], { input: archive });
  for (const script of ["edge/install.mjs", "edge/build.mjs"]) {
    execFileSync(process.execPath, [script], { cwd: former, stdio: ["ignore", 2, 2] });
  }
}
buildWhenStale();
const vitest = join(root, "node_modules/vitest/vitest.mjs");
const config = join(root, "test/upgrade/vitest.config.ts");
const { status } = spawnSync(process.execPath, [vitest, "run", "--config", config, ...args], {
  cwd: root,
  stdio: "inherit",
  env: { ...process.env, FORMER_VERSION: former },
});
process.exitCode = status ?? 1;
