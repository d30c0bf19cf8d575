/**
 * Counters, in Redis.
 */
import type { Store } from "../../store.ts";
import type { Runner } from "../connection/connection.ts";
import type { Ignored } from "../values/ignored.ts";
import { expectReply, pairsOf, repliesSchema } from "../values/replies.ts";

const COUNTER_NAME = /^[A-Za-z0-9._/-]{1,200}$/;

export function createStoredCounters(connection: Runner, ignored: Ignored) {
  return {
    async addToCounters(increments) {
      const entries = Object.entries(increments).filter(
        ([name, by]) => COUNTER_NAME.test(name) && Number.isFinite(by),
      );
      if (entries.length === 0) return;
      const args = entries.flatMap(([name, by]) => [name, String(by)]);
      const skipped = await connection.run("addToCounters", ...args);
      if (typeof skipped === "number") ignored.count("counter", skipped);
    },
    async readCounters(prefix) {
      const reply = await connection.run("readCounters", prefix);
      const pairs = pairsOf(expectReply(repliesSchema, reply));
      const counters = pairs
        .map(([name, sum]) => [name, Number(sum)] as const)
        .filter(([name, sum]) => COUNTER_NAME.test(name) && Number.isFinite(sum));
      ignored.count("counter", pairs.length - counters.length);
      return Object.fromEntries(counters);
    },
  } satisfies Partial<Store>;
}
