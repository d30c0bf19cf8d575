/**
 * Counters and the history of ownership, in the embedded store.
 */
import { MAX_EVENTS, type StoredEvent } from "../../store.ts";
import { type Restored, recordKey } from "../format/records.ts";
import type { Effects, Write } from "./effects.ts";
import type { Operations } from "./operations.ts";

/** More names are not counted: some contain client input (a version, a page). */
const MAX_COUNTERS = 10_000;

export interface History
  extends Pick<Operations, "addToCounters" | "readCounters" | "appendEvent" | "readEvents"> {
  restore(record: Extract<Restored, { kind: "counter" | "event" }>): void;
  /** All records, as journalled. */
  entries(): Iterable<Write>;
}

export function createHistory(effects: Effects): History {
  const counters = new Map<string, number>();
  /** By ordinal, oldest first. Dropping the oldest is not journalled: reading the journal drops it again. */
  const events = new Map<number, StoredEvent>();
  let nextOrdinal = 0;

  function add(ordinal: number, event: StoredEvent): void {
    events.set(ordinal, event);
    nextOrdinal = Math.max(nextOrdinal, ordinal + 1);
    const [oldest] = events.keys();
    if (events.size > MAX_EVENTS && oldest !== undefined) events.delete(oldest);
  }

  return {
    addToCounters(_now, increments) {
      for (const [name, by] of Object.entries(increments)) {
        if (!counters.has(name) && counters.size >= MAX_COUNTERS) continue;
        const count = (counters.get(name) ?? 0) + by;
        counters.set(name, count);
        effects.write(recordKey.counter(name), count);
      }
    },
    readCounters(_now, prefix) {
      return Object.fromEntries([...counters].filter(([name]) => name.startsWith(prefix)));
    },
    appendEvent(now, event) {
      const stored = { ...event, atMs: now.wallMs };
      const ordinal = nextOrdinal;
      add(ordinal, stored);
      effects.write(recordKey.event(ordinal), stored);
    },
    readEvents(_now, { limit, sessionId }) {
      if (limit <= 0) return [];
      const all = [...events.values()];
      const wanted =
        sessionId === undefined ? all : all.filter((event) => event.sessionId === sessionId);
      return wanted.slice(-limit);
    },
    restore(record) {
      if (record.kind === "counter") counters.set(record.name, record.count);
      else add(record.ordinal, record.event);
    },
    *entries() {
      for (const [name, count] of counters) yield [recordKey.counter(name), count];
      for (const [ordinal, event] of events) yield [recordKey.event(ordinal), event];
    },
  };
}
