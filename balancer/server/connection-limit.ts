/**
 * How many client connections this process can serve: the setting, capped by its file descriptors.
 */
import { readFileSync } from "node:fs";

/** Enough for one process; more connections need more processes. */
const DEFAULT_CONNECTIONS = 20_000;
/** A tunnel has a socket on either side, and so has a request under way. */
const DESCRIPTORS_PER_CONNECTION = 2;
/** Standard streams, logs, listening ports, the store, probes, idle connections to workers. */
const RESERVED_DESCRIPTORS = 64;
/** A lower result would refuse clients for no use: the descriptor limit is wrong then. */
const MIN_CONNECTIONS = 8;

/**
 * `configured` (CT_MAX_CONNECTIONS) or the default, but no more than `descriptors` allow, where their number is known. Pure.
 */
export function connectionLimit(
  configured: number | undefined,
  descriptors: number | undefined,
): number {
  const wanted = configured ?? DEFAULT_CONNECTIONS;
  if (descriptors === undefined) return wanted;
  const possible = Math.floor((descriptors - RESERVED_DESCRIPTORS) / DESCRIPTORS_PER_CONNECTION);
  return Math.min(wanted, Math.max(possible, MIN_CONNECTIONS));
}

/** Descriptors that this process may have open; undefined where the system does not tell (only Linux has /proc). */
export function readDescriptorLimit(): number | undefined {
  try {
    const limit = /^Max open files +(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
    return limit === undefined ? undefined : Number(limit);
  } catch {
    return undefined;
  }
}
