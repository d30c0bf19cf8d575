/**
 * Programs from Debian packages that some tests need. They are installed once if tests run as root or in CI; otherwise the
 * tests that need them are skipped with a message on how to install them.
 */
import { spawnSync } from "node:child_process";

/**
 * Whether `program` is available, after installing it if necessary. If it cannot be installed, prints the skipped tests and
 * the fix; in CI throws instead, because a skipped test counts as a failure there.
 */
export function hasProgram(program: string, packages: readonly string[], leftOut: string): boolean {
  if (isThere(program)) return true;
  const command = `apt-get install --no-install-recommends ${packages.join(" ")}`;
  const by = installer();
  if (by !== undefined && isThere("apt-get")) {
    process.stderr.write(`installing ${packages.join(", ")} with apt-get (once)…\n`);
    // RUNLEVEL=1 keeps the packages from starting their servers.
    const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" };
    const wait = "-oDPkg::Lock::Timeout=300";
    const install = ["install", "-y", "-q", wait, "--no-install-recommends", ...packages];
    for (const args of [["update", "-q"], install]) {
      const [first = "", ...rest] = [...by, "apt-get", ...args];
      spawnSync(first, rest, { stdio: ["ignore", 2, 2], env });
    }
    if (isThere(program)) return true;
  }
  const reason = `SKIPPED: ${leftOut}, because ${program} is not installed; as root: ${command}`;
  if (process.env["CI"] !== undefined) throw new Error(reason);
  process.stderr.write(`${reason}\n`);
  return false;
}

/** The prefix of apt-get; undefined if this user may not install. Outside CI, sudo is never used. */
function installer(): readonly string[] | undefined {
  if (process.getuid?.() === 0) return [];
  const isCi = process.env["CI"] !== undefined;
  const maySudo = isCi && spawnSync("sudo", ["-n", "true"], { stdio: "ignore" }).status === 0;
  return maySudo ? ["sudo", "-n", "-E"] : undefined;
}

function isThere(program: string): boolean {
  return spawnSync("sh", ["-c", `command -v ${program}`], { stdio: "ignore" }).status === 0;
}
