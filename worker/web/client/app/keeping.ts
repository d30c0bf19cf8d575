/**
 * What the browser keeps of a session that this page is in: its record, so that a reload brings back the same person, and the
 * updates of its documents.
 */
import type { EndReason } from "../model/session.ts";
import type { SessionEnvironment } from "../session/live-session.ts";
import type { Database } from "../storage/database.ts";
import type { SessionRecord } from "../storage/session-store.ts";

/** Updates are merged when there are more, so that opening the session again stays quick. */
const MAX_UPDATES = 500;
/** Records that were not used for a day are removed. */
const USED_EVERY_MS = 60_000;

export async function keepSession(options: {
  readonly roomId: string;
  readonly database: Database;
  /** Undefined while there is nothing to come back to. */
  readonly describe: () => SessionRecord | undefined;
  readonly onEnded: (reason: EndReason) => void;
}): Promise<SessionEnvironment> {
  const { roomId, database, describe } = options;
  const { sessions, updates } = database;
  let isEnded = false;
  let isScheduled = false;

  function remember(): void {
    if (isScheduled) return;
    isScheduled = true;
    queueMicrotask(() => {
      isScheduled = false;
      const record = isEnded ? undefined : describe();
      if (record !== undefined) void sessions.put(record);
    });
  }

  const timer = setInterval(remember, USED_EVERY_MS);
  return {
    kept: await updates.load(roomId),
    keep(update, encode) {
      if (isEnded) return;
      updates.append(roomId, update);
      if (updates.count(roomId) > MAX_UPDATES) void updates.compact(roomId, encode());
    },
    remember,
    onEnded(reason) {
      isEnded = true;
      clearInterval(timer);
      if (reason !== "moved") void sessions.delete(roomId);
      options.onEnded(reason);
    },
  };
}

/** For a second person in this browser, who is not kept. */
export function keepNothing(onEnded: (reason: EndReason) => void): SessionEnvironment {
  return { kept: [], keep() {}, remember() {}, onEnded };
}
