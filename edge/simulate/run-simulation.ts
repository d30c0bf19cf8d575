/**
 * A change of the workers, played over the edge as it is now.
 */

import { escapeForTerminal } from "../../shared/logs/escape.ts";
import type { Store } from "../../shared/store/store.ts";
import { CommandError } from "../output/command-error.ts";

import { type Change, type Simulation, type Snapshot, simulate } from "./simulate.ts";
import { findPlaces, readSnapshot, type Seen } from "./snapshot.ts";

/** Throws `CommandError` when it cannot be said. */
export async function runSimulation(
  store: Store,
  change: Change,
  drain: Snapshot["drain"],
): Promise<{ readonly seen: Seen; readonly simulation: Simulation }> {
  const seen = await readSnapshot(store);
  checkChange(change, seen);
  const concerned =
    change.kind === "add" ? [] : seen.sessions.filter(({ holder }) => holder === change.worker);
  const keys = concerned.flatMap(({ id, alias }) => (alias === undefined ? [id] : [id, alias]));
  const placeOf = await findPlaces(store, seen.members, keys);
  return { seen, simulation: simulate(change, { ...seen, placeOf, drain }) };
}

/** Throws `CommandError` when there is no such worker, or none would be left that takes its sessions. Pure. */
export function checkChange(change: Change, { workers }: Pick<Seen, "workers">): void {
  if (change.kind === "add") return;
  const { worker } = change;
  if (!workers.some(({ id }) => id === worker)) {
    const known = workers.map(({ id }) => id).join(", ");
    throw new CommandError(
      `no worker is called ${escapeForTerminal(worker)}; known are ${known === "" ? "none" : known}`,
    );
  }
  if (workers.some(({ id, state }) => id !== worker && state === "up")) return;
  throw new CommandError(
    change.kind === "remove"
      ? `no other worker than ${worker} takes sessions, so it would not be drained; start one or resume one first`
      : `no other worker than ${worker} takes sessions: without it all of its sessions wait, and their people give up after 30 s; start one or resume one`,
  );
}
