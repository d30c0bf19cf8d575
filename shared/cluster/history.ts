/**
 * The history of ownership: which worker got or lost a session, who joined and left, and why. A stream of the store.
 */
import type { SessionId } from "../base/ids.ts";
import { parseEvent } from "../store/schemas.ts";
import type { EdgeEvent, Store, StoredEvent } from "../store/store.ts";
import { STREAM_START, type StreamEntry } from "../store/streams.ts";

/** A page takes Redis about a millisecond. */
const EVENTS_PER_PAGE = 1000;

export async function appendEvent(
  store: Pick<Store, "appendToStream">,
  event: EdgeEvent,
): Promise<void> {
  await store.appendToStream("events", [JSON.stringify(event)]);
}

/** The newest `limit` events, oldest first; of one session when `sessionId` is given. */
export async function readEvents(
  store: Pick<Store, "readStream">,
  { limit, sessionId }: { readonly limit: number; readonly sessionId?: SessionId },
): Promise<readonly StoredEvent[]> {
  if (limit <= 0) return [];
  // The newest ones are in one page, unless they must be searched for.
  if (sessionId === undefined && limit <= EVENTS_PER_PAGE) {
    const events = (await store.readStream("events", { limit })).flatMap(toEvents);
    // Fewer in all, or some of the newest are invalid.
    if (events.length === limit) return events;
  }
  const found: StoredEvent[] = [];
  for (let after = STREAM_START; ; ) {
    const entries = await store.readStream("events", { after, limit: EVENTS_PER_PAGE });
    const last = entries.at(-1);
    if (last === undefined) return found.slice(-limit);
    after = last.id;
    const events = entries.flatMap(toEvents);
    found.push(...events.filter((event) => event.sessionId === (sessionId ?? event.sessionId)));
  }
}

/** None for an entry that is no event. */
function toEvents({ text, atMs }: StreamEntry): StoredEvent[] {
  const event = parseEvent(text);
  return event === undefined || atMs === undefined ? [] : [{ ...event, atMs }];
}
