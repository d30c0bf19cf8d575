/**
 * Sentences about the cluster that commands and the dashboard share. Pure. They are escaped by the code that prints them,
 * or here where an operator's input is in them.
 */
import { escapeForTerminal } from "../logs/escape.ts";
import type { RingAgreement, SecretAgreement } from "./describe.ts";

/** While a store is new or was flushed, members and sessions reappear with the next heartbeats. */
export const STORE_NOT_SETTLED =
  "The store is new or was just emptied: running processes and their sessions may be missing for a few seconds.";

/** Undefined when all processes have the same ring. */
export function ringProblem({ majority, differing }: RingAgreement): string | undefined {
  if (differing.size === 0) return undefined;
  const which =
    majority === undefined
      ? "Rings differ and none has a majority"
      : `Ring differs from the majority: ${[...differing].join(", ")}`;
  return `${which}; if this persists, the same key is routed to different workers: check that all processes run the same version and reach the same store.`;
}

const MAX_NAMES = 4;

/** The first few names of a list, which may be long, and how many more there are. */
export function someOf(names: readonly string[]): string {
  const shown = names.slice(0, MAX_NAMES).join(", ");
  return names.length > MAX_NAMES ? `${shown} and ${names.length - MAX_NAMES} more` : shown;
}

/** Undefined when all processes have one secret. */
export function secretProblem(agreement: SecretAgreement): string | undefined {
  if (agreement.state !== "several") return undefined;
  const groups = agreement.groups.map(someOf).join(" | ");
  return agreement.twoEdges
    ? `two edges share this store: ${groups}`
    : `CT_SECRET differs, so that processes ignore each other: ${groups}`;
}

/** For a worker id that matches no member. */
export function unknownWorker(id: string, ids: readonly string[]): string {
  const known = ids.length === 0 ? "there are no workers" : `workers are ${ids.join(", ")}`;
  return `there is no worker ${escapeForTerminal(id)}; ${known}`;
}

/** `count` above 0. */
export function unparsableRecords(
  what: "Events" | "Member records" | "Session records",
  count: number,
): string {
  return `${what} in the store that cannot be parsed and are not shown: ${count}; check what else writes to this store.`;
}
