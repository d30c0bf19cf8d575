/**
 * Counts invalid records in the store, and logs each kind at most once a minute, because a planted record is read
 * repeatedly.
 */
import type { Clock } from "../../../base/clock.ts";
import type { Log } from "../../../logs/log.ts";
import type { Counters } from "../../../metrics/metrics.ts";

const PERIOD_MS = 60_000;

type IgnoredKind =
  | "member"
  | "session"
  | "ticket"
  | "counter"
  | "event"
  | "entry"
  | "report"
  | "sign-in";

export type Ignored = ReturnType<typeof createIgnored>;

export function createIgnored(deps: {
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
}) {
  const { clock, counters, log } = deps;
  const loggedMsByKind = new Map<IgnoredKind, number>();

  return {
    /** Does nothing for 0. */
    count(kind: IgnoredKind, number: number): void {
      if (number === 0) return;
      counters.count("store.ignored", kind, number);
      const nowMs = clock.nowMs();
      const loggedMs = loggedMsByKind.get(kind);
      if (loggedMs !== undefined && nowMs - loggedMs < PERIOD_MS) return;
      loggedMsByKind.set(kind, nowMs);
      log.warn(
        { kind, number },
        "ignored invalid records in the store; check what else writes to this Redis",
      );
    },
  };
}
