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

/** Where a late worker's idle sessions go: to the worker with the fewest sessions among those with time. Pure. */
export function planRelief(self: WorkerId, workers: readonly WorkerRecord[]): MoveRequest["moves"] {
  const [target] = workers
    .filter(({ id, state, load }) => id !== self && state === "up" && load.lagMs <= IDLE_LAG_MS)
    .sort((a, b) => a.load.sessions / a.weight - b.load.sessions / b.weight);
  return target === undefined ? [] : [{ worker: target.id, count: MOVES }];
}

export function startRelief(deps: {
  readonly self: WorkerId;
  readonly lag: Pick<LoopLag, "recent">;
  readonly workers: () => readonly WorkerRecord[];
  readonly commandHandler: Pick<CommandHandler, "state" | "handleCommand">;
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
    const moves = planRelief(deps.self, deps.workers());
    if (moves.length === 0) return;
    pausedUntilMs = clock.nowMs() + PAUSE_MS;
    const { message } = await commandHandler.handleCommand({
      kind: "migrate-idle",
      moves,
      idleMs: IDLE_MS,
    });
    log.info(
      { lagMs: meanMs, to: moves[0]?.worker, message },
      "the event loop is late; moving idle sessions",
    );
  }

  const timer = clock.every(CHECK_MS, () => {
    check().catch((error: unknown) =>
      log.error({ err: error }, "idle sessions could not be moved"),
    );
  });
  return { close: () => timer.cancel() };
}
