/**
 * Errors of the Redis store. A cause never contains what was sent: ioredis attaches the arguments of a command to its
 * errors, passwords included.
 */
import { EdgeError } from "../../../base/errors.ts";

/** Redis refused this operation: a missing permission, or a bug. Nothing was changed. */
export class StoreRefusedError extends EdgeError {
  readonly code = "EDGE_STORE_REFUSED";
  constructor(operation: string, why: string) {
    super(`Redis refused ${operation}: ${why}`);
  }
}

/** A value exceeds the limit that readers apply. Nothing was changed. */
export class StoreValueError extends EdgeError {
  readonly code = "EDGE_STORE_VALUE";
  constructor(what: string, maxBytes: number) {
    super(`${what} is larger than ${maxBytes} bytes and was not stored`);
  }
}

/** A script returned an invalid reply: scripts and sources are of different versions, or a bug. */
export class StoreReplyError extends EdgeError {
  readonly code = "EDGE_STORE_REPLY";
  constructor() {
    super("a Redis script returned an invalid reply; this is a bug, please report it");
  }
}
