/**
 * Where the page keeps things: named stores of values by string keys. In IndexedDB, or in memory where the browser keeps
 * nothing. Keys that belong together share a prefix that ends in `/`.
 */
import { getOrAdd } from "../../../../shared/base/grouping.ts";

export const STORES = ["sessions", "users", "updates", "scratch", "entries", "contents"] as const;
export type StoreName = (typeof STORES)[number];

export type Change =
  | { readonly store: StoreName; readonly put: string; readonly value: unknown }
  | { readonly store: StoreName; readonly remove: string }
  /** Removes all keys with this prefix. */
  | { readonly store: StoreName; readonly removeAll: string };

/** Every function rejects when the browser refuses or fails. */
export interface Backend {
  /** Undefined if there is none. */
  get(store: StoreName, key: string): Promise<unknown>;
  /** In the order of the keys. */
  keys(store: StoreName, prefix?: string): Promise<readonly string[]>;
  /** In the order of the keys. */
  values(store: StoreName, prefix?: string): Promise<readonly unknown[]>;
  /** All or none. */
  write(changes: readonly Change[]): Promise<void>;
  close(): void;
}

/** The key after all keys with `prefix`: `0` follows `/`. */
export function endOfPrefix(prefix: string): string {
  return `${prefix.slice(0, -1)}0`;
}

export function createMemoryBackend(): Backend {
  const stores = new Map<StoreName, Map<string, unknown>>();

  function storeOf(name: StoreName): Map<string, unknown> {
    return getOrAdd(stores, name, () => new Map<string, unknown>());
  }

  function keysOf(name: StoreName, prefix = ""): string[] {
    return [...storeOf(name).keys()].filter((key) => key.startsWith(prefix)).sort();
  }

  function apply(change: Change): void {
    const store = storeOf(change.store);
    if ("put" in change) store.set(change.put, change.value);
    else if ("remove" in change) store.delete(change.remove);
    else for (const key of keysOf(change.store, change.removeAll)) store.delete(key);
  }

  return {
    get: async (store, key) => storeOf(store).get(key),
    keys: async (store, prefix) => keysOf(store, prefix),
    values: async (store, prefix) => keysOf(store, prefix).map((key) => storeOf(store).get(key)),
    write: async (changes) => changes.forEach(apply),
    close() {},
  };
}
