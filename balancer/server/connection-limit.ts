/**
 * How many connections of clients this process can serve: the setting, as far as its descriptors reach.
 */
import { readFileSync } from "node:fs";

/** Enough for one process; more connections want more processes. */
const DEFAULT_CONNECTIONS = 20_000;
/** A tunnel has a socket on either side, and so has a request under way. */
const DESCRIPTORS_PER_CONNECTION = 2;
/** Standard streams, logs, listening ports, the store, probes, idle connections to workers. */
const RESERVED_DESCRIPTORS = 64;
/** Below this a limit says nothing sensible any more. */
const MIN_CONNECTIONS = 8;

/**
 * `configured` (CT_MAX_CONNECTIONS) or the default, but no more than `descriptors` allow. Undefined descriptors: they are
 * not known, and the setting is believed. Pure.
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

/** Descriptors that this process may have open; undefined where the system does not say (only Linux has /proc). */
export function readDescriptorLimit(): number | undefined {
  try {
    const limit = /^Max open files +(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
    return limit === undefined ? undefined : Number(limit);
  } catch {
    return undefined;
  }
}
