/** The real `helm` and `kubectl`, where this machine has them. */
import { execFileSync, spawnSync } from "node:child_process";

/** True if `command` can be run; else prints why tests with it are skipped. */
export function isInstalled(command: "helm" | "kubectl"): boolean {
  const args = command === "helm" ? ["version"] : ["version", "--client"];
  const works = spawnSync(command, args, { stdio: "ignore" }).status === 0;
  if (!works) process.stderr.write(`${command} is not installed: its tests are skipped\n`);
  return works;
}

/** Standard output; throws with what the command wrote on standard error. */
export function run(command: "helm" | "kubectl", ...args: readonly string[]): string {
  return execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}
