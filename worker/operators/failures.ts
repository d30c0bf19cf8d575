/** Counts recent failed sign-ins by client address, in a table of bounded size. */
import { BoundedMap } from "../../shared/base/bounded.ts";
import { networkOf } from "../../shared/net/networks.ts";

const WINDOW_MS = 60_000;
/** Contract: beyond this, the addresses that failed first are forgotten. */
const MAX_ADDRESSES = 10_000;

export function createFailures(maxAddresses = MAX_ADDRESSES) {
  /** Oldest window first. */
  const windows = new BoundedMap<string, { count: number; readonly endMs: number }>(maxAddresses);

  return {
    /** Counts a failed attempt; returns the failures in this address's current minute, and how long that minute still lasts. */
    add(address: string, nowMs: number): { readonly count: number; readonly leftMs: number } {
      const network = networkOf(address);
      let window = windows.get(network);
      if (window === undefined || nowMs >= window.endMs) {
        window = { count: 0, endMs: nowMs + WINDOW_MS };
        windows.set(network, window);
      }
      window.count++;
      return { count: window.count, leftMs: window.endMs - nowMs };
    },
    get size(): number {
      return windows.size;
    },
  };
}
