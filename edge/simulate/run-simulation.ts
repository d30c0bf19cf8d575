/**
 * Simulates a change of the workers on the current state of the edge.
 */
import { unknownWorker } from "../../shared/cluster/format.ts";
import type { Store } from "../../shared/store/store.ts";
import { CommandError } from "../output/errors.ts";
import { type Change, type Simulation, type Snapshot, simulate } from "./simulate.ts";
import { findPlaces, readSnapshot, type Seen } from "./snapshot.ts";

/** Throws `CommandError` when the change is impossible, or no balancer answers. */
export async function runSimulation(
  store: Store,
  change: Change,
  drain: Snapshot["drain"],
): Promise<{ readonly seen: Seen; readonly simulation: Simulation }> {
  const seen = await readSnapshot(store);
  checkChange(change, seen);
  const affected =
    change.kind === "add" ? [] : seen.sessions.filter(({ holder }) => holder === change.worker);
  const keys = affected.flatMap(({ id, alias }) => (alias === undefined ? [id] : [id, alias]));
  const placeOf = await findPlaces(store, seen.members, keys);
  return { seen, simulation: simulate(change, { ...seen, placeOf, drain }) };
}

/** Throws `CommandError` when there is no such worker, or no other worker could take its sessions. Pure. */
export function checkChange(change: Change, { workers }: Pick<Seen, "workers">): void {
  if (change.kind === "add") return;
  const { worker } = change;
  if (!workers.some(({ id }) => id === worker)) {
    throw new CommandError(
      unknownWorker(
        worker,
        workers.map(({ id }) => id),
      ),
    );
  }
  if (workers.some(({ id, state }) => id !== worker && state === "up")) return;
  throw new CommandError(
    change.kind === "remove"
      ? `no worker but ${worker} takes sessions, so a drain would move none; start or resume another worker first`
      : `no worker but ${worker} takes sessions: after a crash its sessions wait, and their clients give up after 30 s; start or resume another worker first`,
  );
}
