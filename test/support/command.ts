/**
 * Runs `ct-edge COMMAND` from dist/ as a separate process with its output in pipes.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { atEnd } from "./at-end.ts";
import { buildOnce } from "./build.ts";
import { type Output, outputOf } from "./output.ts";

export interface RunningCommand {
  readonly child: ChildProcess;
  readonly output: Output;
  /** Resolves with its status and its signal, one of which is null, when all of its output has come. */
  readonly closed: Promise<[status: number | null, signal: NodeJS.Signals | null]>;
}

export interface CommandResult {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The file that `ct-edge` runs. */
export const PROGRAM = fileURLToPath(new URL("../../dist/edge/main.js", import.meta.url));
/** A command that hangs fails its test. */
const KILL_MS = 20_000;

/** Starts the command without this process's settings (`CT_…`); killed at the end. */
export async function startCommand(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<RunningCommand> {
  await buildOnce();
  const inherited = Object.entries(process.env).filter(([name]) => !/^(CT_|npm_)/.test(name));
  const child = spawn(process.execPath, [PROGRAM, ...args], {
    env: { ...Object.fromEntries(inherited), ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  atEnd(() => void child.kill("SIGKILL"));
  const closed = once(child, "close") as RunningCommand["closed"];
  return { child, output: outputOf(child), closed };
}

/** Runs the command to its end. */
export async function runCommand(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  killMs = KILL_MS,
): Promise<CommandResult> {
  const { child, output, closed } = await startCommand(args, env);
  const kill = setTimeout(() => child.kill("SIGKILL"), killMs);
  const [status] = await closed;
  clearTimeout(kill);
  return { status, stdout: output.stdout, stderr: output.stderr };
}
