/**
 * What was read from the store and made no sense: counted, and said once a minute at most, because a planted record is
 * read again and again.
 */
import type { Clock } from "../../../base/clock.ts";
import type { Log } from "../../../logs/log.ts";
import type { Counters } from "../../../metrics/metrics.ts";

const PERIOD_MS = 60_000;

export type IgnoredKind =
  | "member"
  | "session"
  | "ticket"
  | "counter"
  | "event"
  | "entry"
  | "report";

export interface Ignored {
  /** Nothing happens for 0. */
  count(kind: IgnoredKind, number: number): void;
}

export function createIgnored(needs: {
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
}): Ignored {
  const { clock, counters, log } = needs;
  const toldMsByKind = new Map<IgnoredKind, number>();

  return {
    count(kind, number) {
      if (number === 0) return;
      counters.count("store.ignored", kind, number);
      const nowMs = clock.nowMs();
      const toldMs = toldMsByKind.get(kind);
      if (toldMs !== undefined && nowMs - toldMs < PERIOD_MS) return;
      toldMsByKind.set(kind, nowMs);
      log.warn(
        { kind, number },
        "ignored invalid records in the store; check what else writes to this Redis",
      );
    },
  };
}
