/**
 * Relief of a busy worker (`CT_REBALANCE=idle`): when its event loop is late for a while, it moves a few idle sessions to
 * workers that are not, as `ct-edge rebalance --idle` does on request, and then waits to see whether that helped.
 */
import type { Clock } from "../../shared/base/clock.ts";
import type { WorkerId } from "../../shared/base/ids.ts";
import type { MoveRequest } from "../../shared/control/command.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { LoopLag } from "../../shared/metrics/loop-lag.ts";
import { LATE_LOOP_MS, type WorkerRecord } from "../../shared/store/member.ts";
import type { CommandHandler } from "./command-handler.ts";
import { isNewer } from "./drain.ts";

/** A worker with more delay than this gets none. */
const IDLE_LAG_MS = LATE_LOOP_MS / 4;
const CHECK_MS = 10_000;
/** It must be late in so many checks one after the other. */
const CHECKS = 3;
/** The cap of the rate: so many sessions, then a pause. */
const MOVES = 5;
const PAUSE_MS = 60_000;
/** Sessions without activity for less than this stay. */
const IDLE_MS = 60_000;

/**
 * Where a late worker's idle sessions go: to the one with fewer sessions of two random workers that have time, so that several
 * late workers do not all choose the same one. Workers of an older version than its own only if there are no others: in an
 * upgrade they are about to be drained. Pure.
 */
export function planRelief(
  self: { readonly id: WorkerId; readonly version: string },
  workers: readonly WorkerRecord[],
  random: () => number,
): MoveRequest["moves"] {
  const free = workers.filter(
    ({ id, state, load }) => id !== self.id && state === "up" && load.lagMs <= IDLE_LAG_MS,
  );
  const current = free.filter(({ version }) => !isNewer(self.version, version));
  const pool = current.length > 0 ? current : free;
  const pick = (): WorkerRecord | undefined => pool[Math.floor(random() * pool.length)];
  const [one, other] = [pick(), pick()];
  if (one === undefined || other === undefined) return [];
  const target = sessionsOf(other) < sessionsOf(one) ? other : one;
  return [{ worker: target.id, count: MOVES }];
}

function sessionsOf({ load, weight }: WorkerRecord): number {
  return load.sessions / weight;
}

export function startRelief(deps: {
  readonly self: { readonly id: WorkerId; readonly version: string };
  readonly lag: Pick<LoopLag, "recent">;
  readonly workers: () => readonly WorkerRecord[];
  readonly commandHandler: Pick<CommandHandler, "state" | "handleCommand">;
  /** 0 to below 1. */
  readonly random: () => number;
  readonly clock: Clock;
  readonly log: Log;
}): { close(): void } {
  const { clock, log, commandHandler } = deps;
  let lateChecks = 0;
  let pausedUntilMs = Number.NEGATIVE_INFINITY;

  async function check(): Promise<void> {
    const { meanMs } = deps.lag.recent;
    lateChecks = meanMs >= LATE_LOOP_MS ? lateChecks + 1 : 0;
    const isDue = lateChecks >= CHECKS && clock.nowMs() >= pausedUntilMs;
    if (!isDue || commandHandler.state !== "up") return;
    const moves = planRelief(deps.self, deps.workers(), deps.random);
    const [target] = moves;
    if (target === undefined) return;
    pausedUntilMs = clock.nowMs() + PAUSE_MS;
    const request = { kind: "migrate-idle", moves, idleMs: IDLE_MS } as const;
    const { outcome, message, detail } = await commandHandler.handleCommand(request);
    if (outcome !== "done") log.info({ message }, "no idle sessions are moved");
    else if (typeof detail === "number" && detail > 0) {
      log.info(
        { lagMs: meanMs, sessions: detail, to: target.worker },
        "the event loop is late; moving idle sessions",
      );
    }
  }

  const timer = clock.every(CHECK_MS, () => {
    check().catch((error: unknown) =>
      log.error({ err: error }, "idle sessions could not be moved"),
    );
  });
  return { close: () => timer.cancel() };
}
