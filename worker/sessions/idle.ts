/**
 * For how long nobody has worked in a session. That nothing is said is no sign of it: clients that are only open compare
 * their documents every ten seconds, each with every other one. Pure.
 */
import type { Clock } from "../../shared/base/clock.ts";

export interface IdleTracker {
  /** A message came; there are so many peers. */
  note(peers: number): void;
  /** Since when nobody works, in ms; 0 while somebody does. */
  readonly ms: number;
}

/** As long as the clients' period. */
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
      // One question of each, an answer of each to each, and twice that when two periods meet; more is work.
      if (messages > 2 * peers * peers + peers) idleSinceMs = slotMs + SLOT_MS;
    },
    get ms() {
      return Math.max(0, clock.nowMs() - idleSinceMs);
    },
  };
}
