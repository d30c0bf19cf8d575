/**
 * What happens in one session, as operators read it later: in the log, in the session's history, and as events for the audit log
 * and webhooks. An event is recorded before what it tells is written to the store.
 */

import type { SessionId } from "../../shared/base/ids.ts";
import type { Sender } from "../../shared/control/command.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { PeerRecord, UserRecord } from "../../shared/store/store.ts";
import { EDGE, type Origin, operatorParty, userParty } from "../activity/parties.ts";
import type { Activity } from "../activity/recorder.ts";
import type { CloseCause, LeaveCause } from "./admission.ts";
import type { Peer } from "./peers/peer.ts";
import { type SessionOwnership, shortId } from "./session-ownership.ts";

export type SessionDiary = ReturnType<typeof createSessionDiary>;

export function createSessionDiary(deps: {
  readonly sessionId: SessionId;
  readonly log: Log;
  readonly activity: Activity;
  readonly ownership: Pick<SessionOwnership, "note" | "epoch">;
}) {
  const { sessionId, log, activity, ownership } = deps;
  const session = shortId(sessionId);

  return {
    /** `cause`: as in the session's history. */
    created(user: UserRecord, origin: Origin, cause: string): void {
      ownership.note("created", cause);
      log.info({ session, user: user.name }, "session created");
      activity.record({
        ...{ kind: "session.created", session: sessionId, once: "1" },
        actor: userParty(user, origin),
      });
    },
    /** Another worker had it. */
    moved(cause: string, people: number): void {
      ownership.note("resumed", cause);
      activity.record({
        ...{ kind: "session.moved", session: sessionId, once: String(ownership.epoch) },
        ...{ actor: EDGE, details: { cause, people } },
      });
    },
    /** It has been admitted; others do not know it yet. */
    arriving({ id, user, client, host }: PeerRecord): void {
      activity.record({
        ...{ kind: "peer.joined", session: sessionId, once: id },
        ...{ actor: userParty(user, { client }), details: { role: host ? "host" : "guest" } },
      });
    },
    /** The others have been told. */
    joined({ id, user, client, host }: PeerRecord): void {
      ownership.note("joined", host ? "host" : "guest");
      const text = host ? "host joined" : "guest joined";
      log.info({ session, peer: id, user: user.name, client }, text);
    },
    /** `by`: the operator who removes it. */
    left({ id, user, client }: PeerRecord, cause: LeaveCause, by?: Sender): void {
      const person = userParty(user, { client });
      const common = { session: sessionId, once: id, details: { cause } };
      activity.record(
        cause === "removed"
          ? { ...common, kind: "peer.removed", actor: operatorParty(by), target: person }
          : { ...common, kind: "peer.left", actor: person },
      );
      ownership.note("left", cause);
      log.info({ session, peer: id, cause }, "guest left");
    },
    locked(isLocked: boolean, by: Sender | undefined): void {
      log.info({ session, isLocked }, "an operator has locked or unlocked the session");
      const kind = isLocked ? "session.locked" : "session.unlocked";
      activity.record({ kind, session: sessionId, actor: operatorParty(by) });
    },
    /** `peers`: who is in it. */
    closed(cause: CloseCause, peers: Iterable<Peer>, by?: Sender): void {
      let people = 0;
      for (const { record, announced } of peers) {
        if (announced === "no") continue;
        people++;
        activity.record({
          ...{ kind: "peer.left", session: sessionId, once: record.id },
          actor: userParty(record.user, { client: record.client }),
          details: { cause: "session closed" },
        });
      }
      ownership.note("closed", cause);
      log.info({ session, cause }, "session closed");
      activity.record({
        ...{ kind: "session.closed", session: sessionId, once: "1" },
        actor: cause === "ended by the operator" ? operatorParty(by) : EDGE,
        details: { cause, people },
      });
    },
    /** The host never came. */
    expired(): void {
      activity.record({
        ...{ kind: "session.closed", session: sessionId, once: "1" },
        ...{ actor: EDGE, details: { cause: "never opened", people: 0 } },
      });
    },
  };
}
