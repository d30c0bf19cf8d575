/**
 * Programs that some tests need and that only Debian's packages have. They are installed, once, where tests run as root
 * or in CI; elsewhere the tests that need them are not registered, and it is said how to get them.
 */
import { spawnSync } from "node:child_process";

/**
 * Whether `program` is there, installed if need be. When it is not and cannot be, what was left out and how to have it is
 * printed; under CI that is an error, because there a test that does not run is a test that fails.
 */
export function hasProgram(program: string, packages: readonly string[], leftOut: string): boolean {
  if (isThere(program)) return true;
  const command = `apt-get install --no-install-recommends ${packages.join(" ")}`;
  const by = installer();
  if (by !== undefined && isThere("apt-get")) {
    process.stderr.write(`installing ${packages.join(", ")} with apt-get (once)…\n`);
    // RUNLEVEL=1: the packages would start servers of their own.
    const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" };
    const wait = "-oDPkg::Lock::Timeout=300";
    const install = ["install", "-y", "-q", wait, "--no-install-recommends", ...packages];
    for (const args of [["update", "-q"], install]) {
      const [first = "", ...rest] = [...by, "apt-get", ...args];
      spawnSync(first, rest, { stdio: ["ignore", 2, 2], env });
    }
    if (isThere(program)) return true;
  }
  const reason = `NOT RUN: ${leftOut}, because ${program} is not here; as root: ${command}`;
  if (process.env["CI"] !== undefined) throw new Error(reason);
  process.stderr.write(`${reason}\n`);
  return false;
}

/** What goes before apt-get; undefined: this user may not install. A developer's machine is never changed by sudo. */
function installer(): readonly string[] | undefined {
  if (process.getuid?.() === 0) return [];
  const isCi = process.env["CI"] !== undefined;
  const maySudo = isCi && spawnSync("sudo", ["-n", "true"], { stdio: "ignore" }).status === 0;
  return maySudo ? ["sudo", "-n", "-E"] : undefined;
}

function isThere(program: string): boolean {
  return spawnSync("sh", ["-c", `command -v ${program}`], { stdio: "ignore" }).status === 0;
}
