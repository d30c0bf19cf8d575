/**
 * The base class of errors that cross a module's border. Each subject declares its own classes beside the code that throws
 * them. Code distinguishes errors by class or `code`, never by message.
 */

/**
 * An error with a stable code. The message says what happened, to what, and what to do about it. It never contains a secret,
 * a token or a whole session key, because messages are logged.
 */
export abstract class EdgeError extends Error {
  /** Stable, upper-case, starts with `EDGE_`. */
  abstract readonly code: string;

  override get name(): string {
    return this.constructor.name;
  }
}

/** The message of a thrown value, for a log field or an operator. */
export function describeError(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The code of a system error (`ECONNREFUSED`, `ENOSPC`) or of an `EdgeError`. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}
