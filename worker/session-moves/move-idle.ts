/**
 * Moves idle sessions to less loaded workers when an operator asks for it, one after the other, by the same handover as a
 * drain.
 */
import { sleep } from "../../shared/base/clock.ts";
import type { MoveRequest } from "../../shared/control/command.ts";
import { type DrainDeps, handOverTo } from "./drain.ts";

/** Time between two moves. There is no hurry, so only one session's clients reconnect at a time. */
const GAP_MS = 100;

export function countIdle(registry: DrainDeps["registry"], idleMs: number): number {
  return [...registry.sessions()].filter((one) => one.isOpen && one.idleMs >= idleMs).length;
}

/**
 * Moves what `moves` asks for, as far as there are idle sessions and those workers accept any. Resolves with how many
 * moved; `isWanted` is checked before each.
 */
export async function migrateIdleSessions(
  deps: Omit<DrainDeps, "version" | "ending" | "delayMs" | "timeoutMs">,
  { moves, idleMs }: Pick<MoveRequest, "moves" | "idleMs">,
  isWanted: () => boolean,
): Promise<number> {
  let moved = 0;
  for (const { worker, count } of moves) {
    for (let i = 0; i < count && isWanted(); i++) {
      const successor = deps.view.worker(worker);
      // The session that has been idle for longest is the likeliest to stay idle.
      const [session] = [...deps.registry.sessions()]
        .filter((one) => one.isOpen && one.idleMs >= idleMs)
        .sort((a, b) => b.idleMs - a.idleMs);
      if (successor?.state !== "up" || session === undefined) break;
      if ((await handOverTo(successor, session, deps, "rebalance")) !== "handed") break;
      moved++;
      await sleep(deps.clock, GAP_MS * (0.5 + deps.random()));
    }
  }
  return moved;
}
