/**
 * Counters and the history of ownership, in Redis.
 */
import type { Store, StoredEvent } from "../../store.ts";
import type { Runner } from "../connection/connection.ts";
import { limited, toJson } from "../values/arguments.ts";
import type { Ignored } from "../values/ignored.ts";
import { MAX_VALUE_BYTES } from "../values/limits.ts";
import { expectReply, pairsOf, readEvent, repliesSchema } from "../values/replies.ts";

/** A page takes Redis about a millisecond. */
const EVENTS_PER_PAGE = 1000;
const COUNTER_NAME = /^[A-Za-z0-9._/-]{1,200}$/;

export function createHistory(
  connection: Runner,
  ignored: Ignored,
): Pick<Store, "addToCounters" | "readCounters" | "appendEvent" | "readEvents"> {
  /** One page of the stream, newest first, without invalid events. */
  async function readPage(before: string, count: number) {
    const reply = await connection.run("readEvents", "read_events", before, String(count));
    const entries = pairsOf(expectReply(repliesSchema, reply));
    const events = entries.flatMap(([id, text]) => readEvent(id, text) ?? []);
    ignored.count("event", entries.length - events.length);
    return { events, oldestId: entries.at(-1)?.[0] };
  }

  return {
    async addToCounters(increments) {
      const entries = Object.entries(increments).filter(
        ([name, by]) => COUNTER_NAME.test(name) && Number.isFinite(by),
      );
      if (entries.length === 0) return;
      const args = entries.flatMap(([name, by]) => [name, String(by)]);
      const skipped = await connection.run("addToCounters", "add_to_counters", ...args);
      if (typeof skipped === "number") ignored.count("counter", skipped);
    },
    async readCounters(prefix) {
      const reply = await connection.run("readCounters", "read_counters", prefix);
      const pairs = pairsOf(expectReply(repliesSchema, reply));
      const counters = pairs
        .map(([name, sum]) => [name, Number(sum)] as const)
        .filter(([name, sum]) => COUNTER_NAME.test(name) && Number.isFinite(sum));
      ignored.count("counter", pairs.length - counters.length);
      return Object.fromEntries(counters);
    },
    async appendEvent(event) {
      await connection.run(
        "appendEvent",
        "append_event",
        limited("an event", toJson(event), MAX_VALUE_BYTES),
      );
    },
    async readEvents({ limit, sessionId }) {
      const found: StoredEvent[] = [];
      let before: string | undefined = "+";
      while (before !== undefined && found.length < limit) {
        const count = sessionId === undefined ? limit - found.length : EVENTS_PER_PAGE;
        const { events, oldestId } = await readPage(before, Math.min(count, EVENTS_PER_PAGE));
        for (const event of events) {
          if (sessionId === undefined || event.sessionId === sessionId) found.push(event);
        }
        before = oldestId && `(${oldestId}`;
      }
      return found.slice(0, Math.max(0, limit)).reverse();
    },
  };
}
