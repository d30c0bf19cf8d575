/**
 * The records of one kind by id, in the order in which they were added: each change is journalled, expired ones are not found and
 * are dropped little by little, and indexes by other keys follow.
 */
import type { Effects, Write } from "./effects.ts";
import type { StoreTime } from "./operations.ts";

/** Takes well under a millisecond. */
const ENTRIES_PER_SWEEP = 500;

export function createTable<Value>(deps: {
  readonly effects: Pick<Effects, "write">;
  /** In the journal. */
  readonly keyOf: (id: string) => string;
  /** In wall time; undefined: never. */
  readonly expiryOf?: (value: Value) => number;
  /** Under which the index finds it. */
  readonly keysOf?: (value: Value) => readonly string[];
  /** Whether a value that is replaced becomes the newest; by default it keeps its place. */
  readonly isRenewedBySet?: true;
  /** A value was set or dropped. */
  readonly onChanged?: (before: Value | undefined, after: Value | undefined, id: string) => void;
}) {
  const { effects, keyOf, keysOf } = deps;
  const values = new Map<string, Value>();
  const idsByKey = new Map<string, Set<string>>();
  const sweeper = createSweeper(values);

  function isExpired(now: StoreTime, value: Value): boolean {
    return deps.expiryOf !== undefined && now.wallMs >= deps.expiryOf(value);
  }

  function find(now: StoreTime, id: string): Value | undefined {
    const value = values.get(id);
    return value !== undefined && !isExpired(now, value) ? value : undefined;
  }

  function restore(id: string, value: Value): void {
    const before = values.get(id);
    // A value may be 0 or empty.
    const keysBefore = before === undefined ? undefined : keysOf?.(before);
    for (const key of keysBefore ?? []) unindex(key, id);
    if (deps.isRenewedBySet) values.delete(id);
    values.set(id, value);
    for (const key of keysOf?.(value) ?? []) {
      const ids = idsByKey.get(key) ?? new Set();
      idsByKey.set(key, ids.add(id));
    }
    deps.onChanged?.(before, value, id);
  }

  function drop(id: string): void {
    const value = values.get(id);
    if (value === undefined) return;
    values.delete(id);
    for (const key of keysOf?.(value) ?? []) unindex(key, id);
    effects.write(keyOf(id), undefined);
    deps.onChanged?.(value, undefined, id);
  }

  function unindex(key: string, id: string): void {
    const ids = idsByKey.get(key);
    ids?.delete(id);
    if (ids?.size === 0) idsByKey.delete(key);
  }

  /** All, as journalled. */
  function* entries(): Iterable<Write> {
    for (const [id, value] of values) yield [keyOf(id), value];
  }

  return {
    /** Also expired ones. */
    values: values as ReadonlyMap<string, Value>,
    find,
    idsOf: (key: string): Iterable<string> => idsByKey.get(key) ?? [],
    set(id: string, value: Value): void {
      restore(id, value);
      effects.write(keyOf(id), value);
    },
    drop,
    /** Drops the oldest while there are too many. */
    dropBeyond(isTooMany: (size: number) => boolean): void {
      for (const id of values.keys()) {
        if (!isTooMany(values.size)) return;
        drop(id);
      }
    },
    sweep: (now: StoreTime): void => {
      sweeper.sweep((value, id) => {
        if (isExpired(now, value)) drop(id);
      });
    },
    /** As `set`, from the journal. */
    restore,
    entries,
  };
}

/**
 * Visits a map a few entries at a time, so that dropping expired entries never blocks the store. Reads do not depend on it:
 * they check the expiry themselves.
 */
export function createSweeper<K extends string, V>(map: ReadonlyMap<K, V>) {
  // A map's iterator survives deletions and reaches entries that were added meanwhile.
  let position = map.entries();
  return {
    /** Calls `visit` for the next entries, which may delete any. Starts over after the last one. */
    sweep(visit: (value: V, key: K) => void): void {
      for (let i = 0; i < ENTRIES_PER_SWEEP; i++) {
        const next = position.next();
        if (next.done === true) {
          position = map.entries();
          return;
        }
        visit(next.value[1], next.value[0]);
      }
    },
  };
}
