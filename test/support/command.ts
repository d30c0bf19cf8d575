/**
 * Runs `ct-edge COMMAND` from dist/ as a separate process with its output in pipes.
 */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { buildOnce } from "./build.ts";

export interface CommandResult {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const program = fileURLToPath(new URL("../../dist/edge/main.js", import.meta.url));
/** A command that hangs fails its test. */
const KILL_MS = 20_000;

/** Runs the command to its end, without this process's settings (`CT_…`). */
export async function runCommand(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  killMs = KILL_MS,
): Promise<CommandResult> {
  await buildOnce();
  const inherited = Object.entries(process.env).filter(([name]) => !/^(CT_|npm_)/.test(name));
  const child = spawn(process.execPath, [program, ...args], {
    env: { ...Object.fromEntries(inherited), ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const kill = setTimeout(() => child.kill("SIGKILL"), killMs);
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  clearTimeout(kill);
  return { status, stdout, stderr };
}
