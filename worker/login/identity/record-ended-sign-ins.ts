/**
 * Records the ends of sign-ins, once for all workers, however they have ended: the leading worker reads them where the leader before has
 * stopped.
 */
import type { Clock } from "../../../shared/base/clock.ts";
import { startPeriodicTask } from "../../../shared/base/periodic-task.ts";
import type { Log } from "../../../shared/logs/log.ts";
import type { LeaderElection } from "../../../shared/membership/leader-election.ts";
import { type EndedSignIn, readEnded } from "../../../shared/sign-ins/sign-in.ts";
import type { Deferring, Store } from "../../../shared/store/store.ts";
import { STREAM_START } from "../../../shared/store/streams.ts";
import { reportUnlessAway } from "../../../shared/store/unless-away.ts";
import { EDGE, operatorParty, userParty } from "../../activity/parties.ts";
import type { Activity } from "../../activity/recorder.ts";

const POLL_MS = 2000;
const MAX_AT_ONCE = 1000;
/** Its only text is the id of the last end that is recorded. */
const POSITION = "ended-sign-ins-recorded";

export function recordEndedSignIns(deps: {
  readonly store: Pick<Store, "appendToStream"> & Deferring<"readStream">;
  readonly leadership: Pick<LeaderElection, "isLeading">;
  readonly activity: Pick<Activity, "record">;
  readonly clock: Clock;
  readonly log: Log;
}): { close(): void } {
  const { store, leadership, activity, clock, log } = deps;
  /** Up to where they are recorded; undefined: this worker does not lead. */
  let position: string | undefined;

  async function readPosition(): Promise<string> {
    const [last] = await store.deferred.readStream(POSITION, { limit: 1 });
    return last?.text ?? beginHere();
  }

  /** Nobody has recorded them yet: those before ended at times that are not known. */
  async function beginHere(): Promise<string> {
    const { last = STREAM_START } = await readEnded(store.deferred, undefined, 1);
    await store.appendToStream(POSITION, [last]);
    return last;
  }

  async function readNew(): Promise<void> {
    if (!leadership.isLeading) {
      position = undefined;
      return;
    }
    const before = position ?? (await readPosition());
    const { ended, last = before } = await readEnded(store.deferred, before, MAX_AT_ONCE);
    for (const one of ended) record(one);
    // A crash before this repeats them, with the same ids.
    if (last !== before) await store.appendToStream(POSITION, [last]);
    position = last;
  }

  function record({ id, cause, user, by }: EndedSignIn): void {
    activity.record({
      ...{ kind: "sign-in.ended", once: id, details: { cause } },
      actor: cause === "operator" ? operatorParty(by) : EDGE,
      ...(user !== undefined && { target: userParty(user) }),
    });
  }

  return startPeriodicTask({
    clock,
    periodMs: POLL_MS,
    work: readNew,
    onError: reportUnlessAway(log, "ends of sign-ins could not be recorded"),
  });
}
