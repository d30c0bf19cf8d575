/**
 * How long a session has been idle. Silence is no measure of that: clients that are only open compare their documents
 * every ten seconds, each with every other one. Pure.
 */
import type { Clock } from "../../shared/base/clock.ts";

export interface IdleTracker {
  /** Counts a message, in a session of `peers` peers. */
  note(peers: number): void;
  /** Idle time in ms; 0 while anyone works. */
  readonly ms: number;
}

/** The period in which clients compare their documents. */
const SLOT_MS = 10_000;

export function createIdleTracker(clock: Clock): IdleTracker {
  let slotMs = clock.nowMs();
  let messages = 0;
  let idleSinceMs = slotMs;

  return {
    note(peers) {
      const nowMs = clock.nowMs();
      if (nowMs - slotMs >= SLOT_MS) {
        slotMs = nowMs;
        messages = 0;
      }
      messages++;
      // Idle clients send at most this many: one question each and a response to each question, twice when two periods overlap.
      if (messages > 2 * peers * peers + peers) idleSinceMs = slotMs + SLOT_MS;
    },
    get ms() {
      return Math.max(0, clock.nowMs() - idleSinceMs);
    },
  };
}
