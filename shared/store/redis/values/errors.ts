/**
 * How the Redis store fails beyond being away. A cause never holds what was sent: ioredis keeps the arguments of a command
 * at its errors, the password's among them.
 */
import { EdgeError } from "../../../base/errors.ts";
import { StoreAwayError } from "../../store.ts";

/**
 * The store takes no new records, because its memory is full. What needs no room goes on: leases, take-overs, releases,
 * ends. For the caller it is the same as a store that is away.
 */
export class StoreFullError extends StoreAwayError {
  constructor(operation: string) {
    super(operation);
    this.message = `the store is full and refused ${operation}; raise maxmemory in Redis`;
  }
}

/** Redis refused an operation for a reason that lies in it: missing rights, or a bug. Nothing was changed. */
export class StoreRefusedError extends EdgeError {
  readonly code = "EDGE_STORE_REFUSED";
  readonly source = "store";
  readonly retryable = false;
  constructor(operation: string, why: string) {
    super(`Redis refused ${operation}: ${why}`);
  }
}

/** A value is larger than the store takes, so that no reader would take it either. Nothing was changed. */
export class StoreValueError extends EdgeError {
  readonly code = "EDGE_STORE_VALUE";
  readonly source = "internal";
  readonly retryable = false;
  constructor(what: string, maxBytes: number) {
    super(`${what} is larger than ${maxBytes} bytes and was not stored`);
  }
}

/** A script answered what it never answers: scripts and sources are not of one version, or a bug. */
export class StoreReplyError extends EdgeError {
  readonly code = "EDGE_STORE_REPLY";
  readonly source = "internal";
  readonly retryable = false;
  constructor() {
    super("a Redis script returned an invalid reply; this is a bug, please report it");
  }
}
