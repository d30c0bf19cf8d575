/** Counts recent failed sign-ins by client address, in a table of bounded size. */
import { networkOf } from "../../shared/net/networks.ts";

const WINDOW_MS = 60_000;
/** Contract: beyond this, the addresses that failed first are forgotten. */
const MAX_ADDRESSES = 10_000;

export function createFailures(maxAddresses = MAX_ADDRESSES) {
  /** Oldest window first. */
  const windows = new Map<string, { count: number; readonly endMs: number }>();

  return {
    /** Counts a failed attempt; returns the failures in this address's current minute, and how long that minute still lasts. */
    add(address: string, nowMs: number): { readonly count: number; readonly leftMs: number } {
      const network = networkOf(address);
      let window = windows.get(network);
      if (window === undefined || nowMs >= window.endMs) {
        windows.delete(network);
        window = { count: 0, endMs: nowMs + WINDOW_MS };
        windows.set(network, window);
        for (const oldest of windows.keys()) {
          if (windows.size <= maxAddresses) break;
          windows.delete(oldest);
        }
      }
      window.count++;
      return { count: window.count, leftMs: window.endMs - nowMs };
    },
    get size(): number {
      return windows.size;
    },
  };
}
