/**
 * Records what happens on this worker, for the audit log and webhooks. An event is recorded before its change is written
 * to the store, and that write waits until webhooks have the event (`stored`): what a crash undoes is done and recorded again, with the
 * same id.
 */

import {
  type ActivityEvent,
  type NewEvent,
  type Party,
  sessionName,
} from "../../shared/activity/event.ts";
import type { Clock } from "../../shared/base/clock.ts";
import { randomAlphanumerics } from "../../shared/base/ids.ts";

export interface Activity {
  /** Never throws, and does not wait. */
  record(event: NewEvent): void;
  /** Resolves when webhooks have all that was recorded so far. Rejects with `StoreAwayError`. */
  stored(): Promise<void>;
  /** Why no new session may begin: what happens cannot be recorded. Undefined: nothing is against it. */
  refusal(): string | undefined;
}

export interface AuditSink {
  write(event: ActivityEvent): void;
  refusal(): string | undefined;
}

export interface OutboxSink {
  write(event: ActivityEvent): void;
  stored(): Promise<void>;
}

const ID_CHARS = 24;
const AT_ONCE = Promise.resolve();

export function createRecorder(deps: {
  readonly workerId: string;
  readonly clock: Pick<Clock, "wallMs">;
  /** Undefined: there is none. */
  readonly audit?: AuditSink | undefined;
  readonly outbox?: OutboxSink | undefined;
}): Activity {
  const { workerId, clock, audit, outbox } = deps;
  return {
    record({ once, kind, session: sessionId, actor, target, details }) {
      if (audit === undefined && outbox === undefined) return;
      const session = sessionId && sessionName(sessionId);
      const event: ActivityEvent = {
        id:
          once === undefined
            ? randomAlphanumerics(ID_CHARS)
            : [session, kind, once].filter((part) => part !== undefined).join("/"),
        kind,
        atMs: clock.wallMs(),
        worker: workerId,
        ...(session !== undefined && { session }),
        ...(actor !== undefined && { actor: known(actor) }),
        ...(target !== undefined && { target: known(target) }),
        ...(details !== undefined && { details }),
      };
      audit?.write(event);
      outbox?.write(event);
    },
    stored: () => outbox?.stored() ?? AT_ONCE,
    refusal: () => audit?.refusal(),
  };
}

const FIELDS = ["id", "name", "email", "way", "address", "client"] as const;

/** Without what is not known of it. */
function known(party: Party): Party {
  const fields: Record<string, string> & Pick<Party, "type"> = { type: party.type };
  for (const name of FIELDS) {
    const value = party[name];
    if (value !== undefined && value !== "") fields[name] = value;
  }
  return fields;
}
