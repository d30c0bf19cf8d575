/**
 * Failover on one machine: the supervisor says that another worker's process has ended, and this worker takes over those of
 * its sessions for which it is the next candidate, before their clients come back (0.5 s at the earliest). Without it
 * each client's handshake waits for the take-over of its session, on a worker that is busy with all the others, and the
 * process that is started again takes the rest from under the clients that wait here.
 */
import type { SessionId, WorkerId } from "../../shared/base/ids.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { MembershipView } from "../../shared/membership/view.ts";
import { type Store, StoreAwayError } from "../../shared/store/store.ts";
import type { Registry } from "../sessions/registry.ts";
import { chooseSuccessor } from "./drain.ts";

export interface FailoverNeeds {
  readonly self: WorkerId;
  readonly store: Pick<Store, "sessionsOf">;
  readonly registry: Pick<Registry, "claim">;
  readonly view: Pick<MembershipView, "ring" | "worker">;
  readonly log: Log;
}

/** Taken over at a time: each asks the store a few times, and whoever is in session here is served in between. */
const AT_ONCE = 16;

/**
 * Takes over the sessions of `exited`, of which the evidence is known already (`Owners.noteExit`). Those whose next
 * candidate is another worker are left to that one: balancers send their clients there. Resolves when all were asked for;
 * what could not be taken comes with its clients, as before. Never rejects.
 */
export async function takeOverFrom(exited: WorkerId, needs: FailoverNeeds): Promise<void> {
  const { self, store, registry, view, log } = needs;
  const avoid = new Set([exited]);
  try {
    const ids = await store.sessionsOf(exited);
    const mine = ids.filter((id) => chooseSuccessor(id, avoid, view)?.id === self);
    let taken = 0;
    await atOnce(mine, async (id) => {
      if ((await registry.claim(id)).outcome === "here") taken++;
    });
    if (mine.length > 0) log.info({ from: exited, sessions: taken }, "sessions taken over");
  } catch (error) {
    if (!(error instanceof StoreAwayError)) log.error({ err: error }, "the failover failed");
  }
}

async function atOnce(
  ids: readonly SessionId[],
  action: (id: SessionId) => Promise<void>,
): Promise<void> {
  const left = [...ids].reverse();
  async function next(): Promise<void> {
    for (let id = left.pop(); id !== undefined; id = left.pop()) await action(id);
  }
  await Promise.all(Array.from({ length: AT_ONCE }, next));
}
