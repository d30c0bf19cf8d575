/** The error of a store that is there, but whose memory is full. Part of the contract (store.ts), like `StoreAwayError`. */
import { StoreAwayError } from "./store.ts";

/**
 * The store accepts no new records, because its memory is full. Operations that need no memory still work: leases,
 * take-overs, releases, closes. Most callers treat it like a store that is away.
 */
export class StoreFullError extends StoreAwayError {
  constructor(operation: string) {
    super(operation);
    this.message = `the store is full and refused ${operation}; raise maxmemory in Redis`;
  }
}
