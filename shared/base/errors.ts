/**
 * The base of every error that leaves a room. Each subject declares its own classes beside the code that throws them;
 * code branches on `code`, never on message text.
 */

/** Where an error came from, as a proxy sees it. */
export type ErrorSource = "downstream" | "upstream" | "store" | "internal" | "settings";

/**
 * A broken promise with a stable code. The message says what happened, to whom, and what to do next; it never holds a
 * secret, a token or a whole session key, because messages are logged.
 */
export abstract class EdgeError extends Error {
  /** Stable, upper-case, starts with `EDGE_`. */
  abstract readonly code: string;
  abstract readonly source: ErrorSource;
  /** Whether the same call may simply be made again (nothing was changed or sent by the failed one). */
  abstract readonly retryable: boolean;

  override get name(): string {
    return this.constructor.name;
  }
}

/** The text of anything that was thrown, for a log field or an operator's line. */
export function describeError(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Node's code of a system error (`ECONNREFUSED`, `ENOSPC`), or ours, or undefined. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}
