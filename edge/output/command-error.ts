/** What a command says when it cannot do what it was asked to. */
import { EdgeError } from "../../shared/base/errors.ts";

/** A command was asked for something that is not there. */
export class CommandError extends EdgeError {
  readonly code = "EDGE_COMMAND";
  readonly source = "settings";
  readonly retryable = false;
}
