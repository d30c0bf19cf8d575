/** How a command of `ct-edge` fails: with status 1 and one line on standard error. */
import { describeError, EdgeError } from "../../shared/base/errors.ts";
import { escapeForTerminal } from "../../shared/logs/escape.ts";

/** A command cannot do what the operator asked for. The message says why, and what to do. */
export class CommandError extends EdgeError {
  readonly code = "EDGE_COMMAND";
}

/** Of a file that the operator has written. Policies may have reasons of 500 characters. */
export function mistakesIn(path: string, problems: readonly string[]): CommandError {
  const lines = problems.map((problem) => `  ${escapeForTerminal(problem, 2000)}`);
  return new CommandError([`${escapeForTerminal(path)} has mistakes:`, ...lines].join("\n"));
}

/** Ends the process with status 1 and one line on standard error; an unexpected error is printed with its stack. */
export function fail(error: unknown): never {
  const text = error instanceof EdgeError ? error.message : stackOf(error);
  process.stderr.write(`ct-edge: ${text}\n`);
  process.exit(1);
}

function stackOf(error: unknown): string {
  return error instanceof Error && error.stack !== undefined ? error.stack : describeError(error);
}
