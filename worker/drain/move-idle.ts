/**
 * Giving some sessions to less loaded workers, because an operator wants it: only such as nobody works in now, one after
 * the other, by the same hand-over as when the worker is emptied.
 */
import { sleep } from "../../shared/base/clock.ts";
import type { MoveRequest } from "../../shared/control/command.ts";
import { type DrainDeps, handTo } from "./drain.ts";

/** Time between two of them. Nothing presses, so those who come back are never many at a time. */
const GAP_MS = 100;

/** How many sessions nobody has worked in for `idleMs`. */
export function countIdle(registry: DrainDeps["registry"], idleMs: number): number {
  return [...registry.sessions()].filter((one) => one.isOpen && one.calmMs >= idleMs).length;
}

/**
 * Gives away what `moves` say, as far as there are calm sessions and those workers take any. Resolves with how many were
 * given; `isWanted` is asked before each.
 */
export async function migrateIdleSessions(
  needs: Omit<DrainDeps, "ending" | "delayMs" | "timeoutMs">,
  { moves, idleMs }: Pick<MoveRequest, "moves" | "idleMs">,
  isWanted: () => boolean,
): Promise<number> {
  let given = 0;
  for (const { worker, count } of moves) {
    for (let i = 0; i < count && isWanted(); i++) {
      const heir = needs.view.worker(worker);
      // Whoever has been calm for longest will most likely stay so.
      const [session] = [...needs.registry.sessions()]
        .filter((one) => one.isOpen && one.calmMs >= idleMs)
        .sort((a, b) => b.calmMs - a.calmMs);
      if (heir?.state !== "up" || session === undefined) break;
      if ((await handTo(heir, session, needs, "rebalance")) !== "handed") break;
      given++;
      await sleep(needs.clock, GAP_MS * (0.5 + needs.random()));
    }
  }
  return given;
}
