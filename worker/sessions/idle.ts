/**
 * How long a session has been idle. Silence is no measure of that: clients that are only open compare their documents
 * every ten seconds, each with every other one. Pure.
 */
import type { Clock } from "../../shared/base/clock.ts";

export type IdleTracker = ReturnType<typeof createIdleTracker>;

/** The period in which clients compare their documents. */
const SLOT_MS = 10_000;
/** Of one idle client in a period: a question, twice when two periods overlap, and the renewal of its presence. */
const MAX_IDLE_BROADCASTS = 4;

export function createIdleTracker(clock: Clock) {
  let slotMs = clock.nowMs();
  let messages = 0;
  let idleSinceMs = slotMs;
  const broadcasts = new Map<string, number>();

  return {
    /** Counts a message of a peer to all others: what one writes, and one question of an idle client in each period. */
    noteBroadcast(sender: string): void {
      const count = (broadcasts.get(sender) ?? 0) + 1;
      broadcasts.set(sender, count);
      if (count > MAX_IDLE_BROADCASTS) idleSinceMs = slotMs + SLOT_MS;
    },
    /** Counts a message, in a session of `peers` peers. */
    note(peers: number): void {
      const nowMs = clock.nowMs();
      if (nowMs - slotMs >= SLOT_MS) {
        slotMs = nowMs;
        messages = 0;
        broadcasts.clear();
      }
      messages++;
      // Idle clients send at most this many: one question each and a response to each question, twice when two periods overlap.
      if (messages > 2 * peers * peers + peers) idleSinceMs = slotMs + SLOT_MS;
    },
    /** Idle time in ms; 0 while anyone works. */
    get ms(): number {
      return Math.max(0, clock.nowMs() - idleSinceMs);
    },
  };
}
