/**
 * A balancer's cache of sessions' owners: bounded, and a session's epoch never decreases.
 */
import { BoundedMap } from "../../shared/base/bounded.ts";
import { copyOf, type SessionKey, type WorkerId } from "../../shared/base/ids.ts";

export interface Owner {
  readonly worker: WorkerId;
  readonly epoch: number;
  /** The count of worker changes when it was cached; see `createOwnerCache`. */
  readonly change: number;
}

export interface OwnerCache {
  get(key: SessionKey): Owner | undefined;
  /** `worker` owns `key` in `epoch`. Ignored when a higher epoch is cached. */
  set(key: SessionKey, worker: WorkerId, epoch: number): void;
  /** For a key that a client chose: it may name another session from now on. */
  delete(key: SessionKey): void;
  /** The newest `max` entries, the latest at the end. */
  newest(max: number): readonly (readonly [SessionKey, Owner])[];
  /** Counts changes. */
  readonly revision: number;
}

/** Sessions and aliases; about 200 bytes each. */
const MAX_OWNERS = 100_000;

/**
 * `onMoved`: a session was seen in a higher epoch than before; `from` is undefined if it was not cached. `changes`: the
 * count of worker changes so far, stored with each entry.
 */
export function createOwnerCache(
  onMoved: (key: SessionKey, from: WorkerId | undefined, to: WorkerId, epoch: number) => void,
  changes: () => number,
): OwnerCache {
  const ownersByKey = new BoundedMap<SessionKey, Owner>(MAX_OWNERS);
  let revision = 0;

  return {
    get: (key) => ownersByKey.get(key),
    set(key, worker, epoch) {
      const known = ownersByKey.get(key);
      if (known !== undefined && known.epoch > epoch) return;
      const change = changes();
      if (known?.worker === worker && known.epoch === epoch) {
        // Copied too: the key that is set replaces the one in the map.
        if (known.change !== change) ownersByKey.set(copyOf(key), { worker, epoch, change });
        return;
      }
      ownersByKey.set(copyOf(key), { worker, epoch, change });
      revision++;
      if (known?.epoch !== epoch) onMoved(key, known?.worker, worker, epoch);
    },
    delete(key) {
      if (ownersByKey.delete(key)) revision++;
    },
    newest: (max) => [...ownersByKey].slice(-max),
    get revision() {
      return revision;
    },
  };
}
