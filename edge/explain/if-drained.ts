/**
 * Where a session would go if its worker were drained now, by the function by which the worker chooses. Pure.
 */
import type { WorkerId } from "../../shared/base/ids.ts";
import { createHashRing, type RingPlace } from "../../shared/membership/ring.ts";
import type { WorkerRecord } from "../../shared/store/member.ts";
import type { SessionRecord } from "../../shared/store/store.ts";
import { chooseSuccessor } from "../../worker/session-moves/drain.ts";

/**
 * `ring`: the first candidate that accepts sessions. `version`: a candidate before it is of the same version as the owner,
 * and in an upgrade about to be drained too.
 */
export type IfDrained =
  | {
      readonly to: string;
      readonly version: string;
      readonly by: "ring" | "version";
    }
  /** No other worker accepts sessions. */
  | { readonly to: null };

/** Undefined for a session that no live worker has. */
export function ifDrained(
  { id, owner, incarnation, state }: Pick<SessionRecord, "id" | "owner" | "incarnation" | "state">,
  workers: readonly WorkerRecord[],
  place: RingPlace,
): IfDrained | undefined {
  const byId = new Map(workers.map((worker) => [worker.id, worker]));
  const drained = byId.get(owner);
  if (state !== "open" || drained?.incarnation !== incarnation) return undefined;
  const hashRing = createHashRing(workers);
  const view = {
    ring: { candidates: () => hashRing.candidates(place) },
    worker: (worker: WorkerId) => byId.get(worker),
  };
  const others = new Set([owner]);
  const successor = chooseSuccessor(id, others, view, drained.version);
  if (successor === undefined) return { to: null };
  const isNext = chooseSuccessor(id, others, view)?.id === successor.id;
  return { to: successor.id, version: successor.version, by: isNext ? "ring" : "version" };
}
