/** The real `helm`, `kubectl` and `promtool`, where this machine has them. */
import { execFileSync, spawnSync } from "node:child_process";

const VERSION_ARGS = {
  helm: ["version"],
  kubectl: ["version", "--client"],
  promtool: ["--version"],
} as const;

/** True if `command` can be run; else prints why tests with it are skipped. */
export function isInstalled(command: keyof typeof VERSION_ARGS): boolean {
  const args = VERSION_ARGS[command];
  const works = spawnSync(command, args, { stdio: "ignore" }).status === 0;
  if (!works) process.stderr.write(`${command} is not installed: its tests are skipped\n`);
  return works;
}

/** Standard output; throws with what the command wrote on standard error. */
export function run(command: "helm" | "kubectl", ...args: readonly string[]): string {
  return execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}
