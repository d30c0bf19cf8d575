/**
 * Failover on one machine: when the supervisor reports that another worker's process has ended, this worker takes over the
 * sessions for which it is the next candidate, before their clients reconnect (0.5 s at the earliest). Without it each
 * client's handshake waits for the take-over of its session, on a worker that is busy with all the others, and the restarted
 * process takes the rest away from the clients that wait here.
 */
import { concurrently } from "../../shared/base/concurrently.ts";
import type { WorkerId } from "../../shared/base/ids.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { MembershipView } from "../../shared/membership/view.ts";
import type { Store } from "../../shared/store/store.ts";
import { reportUnlessAway } from "../../shared/store/unless-away.ts";
import type { Registry } from "../sessions/registry.ts";
import { chooseSuccessor } from "./drain.ts";

export interface FailoverDeps {
  readonly self: WorkerId;
  readonly store: Pick<Store, "sessionsOf">;
  readonly registry: Pick<Registry, "claim">;
  readonly view: Pick<MembershipView, "ring" | "worker">;
  readonly log: Log;
}

/** Concurrent take-overs: each makes a few store calls, and this worker's own sessions are served in between. */
const AT_ONCE = 16;

/**
 * Takes over the sessions of `exited`, whose exit has been recorded as evidence (`OwnerProbe.noteExit`). Sessions whose next
 * candidate is another worker are left to it, because balancers send their clients there. Resolves when all were claimed; a
 * session that could not be taken over is claimed again when its first client arrives. Never rejects.
 */
export async function takeOverFrom(exited: WorkerId, deps: FailoverDeps): Promise<void> {
  const { self, store, registry, view, log } = deps;
  const avoid = new Set([exited]);
  try {
    const ids = await store.sessionsOf(exited);
    const mine = ids.filter((id) => chooseSuccessor(id, avoid, view)?.id === self);
    let taken = 0;
    await concurrently(mine, AT_ONCE, async (id) => {
      if ((await registry.claim(id)).outcome === "here") taken++;
    });
    if (mine.length > 0) log.info({ from: exited, sessions: taken }, "sessions taken over");
  } catch (error) {
    reportUnlessAway(log, "the failover failed")(error);
  }
}
