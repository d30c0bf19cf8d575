/** How `ct-edge` ends when it cannot do what it was asked to. */
import { describeError, EdgeError } from "../../shared/base/errors.ts";

/** Ends the process with status 1 and one line that says what to do; a bug of ours is shown whole. */
export function fail(error: unknown): never {
  const text = error instanceof EdgeError ? error.message : stackOf(error);
  process.stderr.write(`ct-edge: ${text}\n`);
  process.exit(1);
}

function stackOf(error: unknown): string {
  return error instanceof Error && error.stack !== undefined ? error.stack : describeError(error);
}
