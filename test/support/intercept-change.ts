/** Stands between a worker and its store for one change of a session. */
import { vi } from "vitest";
import type { SessionChange, Store } from "../../shared/store/store.ts";

/** Calls `intercept` with the next change of this kind, in place of the store. */
export function interceptChange(
  store: Store,
  kind: SessionChange["kind"],
  intercept: <T>(perform: () => Promise<T>) => Promise<T>,
): void {
  const changeSession = store.changeSession.bind(store);
  let isDone = false;
  vi.spyOn(store, "changeSession").mockImplementation((holder, change) => {
    if (isDone || change.kind !== kind) return changeSession(holder, change);
    isDone = true;
    return intercept(() => changeSession(holder, change));
  });
}
