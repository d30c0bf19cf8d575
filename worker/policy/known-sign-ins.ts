/** What identity providers have told of people, as their sign-ins have it in the store; remembered for a store that is away. */
import { BoundedMap } from "../../shared/base/bounded.ts";
import type { Clock } from "../../shared/base/clock.ts";
import type { Told } from "../../shared/policy/person.ts";
import { fromStored } from "../../shared/sign-ins/sign-in.ts";
import { type Store, StoreAwayError } from "../../shared/store/store.ts";

/** Up to 32 KiB each, seldom more than one. */
const MAX_KNOWN = 5000;

export function createKnownSignIns(deps: {
  readonly store: Pick<Store, "findSignIns">;
  readonly clock: Pick<Clock, "nowMs">;
}) {
  const { store, clock } = deps;
  /** The one first that was looked up longest ago. */
  const known = new BoundedMap<string, { readonly told: Told; readonly atMs: number }>(MAX_KNOWN);

  async function find(signIn: string): Promise<Told | undefined> {
    const [stored] = await store.findSignIns({ id: signIn });
    const found = stored && fromStored(stored);
    return found && { email: found.user.email, groups: found.groups && new Set(found.groups) };
  }

  return {
    /**
     * Not older than `maxAgeMs` while the store is there. Undefined: the store does not have the sign-in, and this worker has not seen
     * it. Rejects with `StoreAwayError` when the store is away and this worker has not seen it.
     */
    async read(signIn: string, maxAgeMs: number): Promise<Told | undefined> {
      const last = known.get(signIn);
      if (last !== undefined && clock.nowMs() - last.atMs < maxAgeMs) return last.told;
      try {
        const told = await find(signIn);
        if (told === undefined) return last?.told;
        known.set(signIn, { told, atMs: clock.nowMs() });
        return told;
      } catch (error) {
        if (error instanceof StoreAwayError && last !== undefined) return last.told;
        throw error;
      }
    },
  };
}
