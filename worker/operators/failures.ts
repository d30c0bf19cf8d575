/** Counts recent failed sign-ins by client address, in a table of bounded size. */
import { isIPv6 } from "node:net";

export interface Failures {
  /** Counts a failed attempt; returns the failures in this address's current minute, and how long that minute still lasts. */
  add(address: string, nowMs: number): { readonly count: number; readonly leftMs: number };
  readonly size: number;
}

const WINDOW_MS = 60_000;
/** Contract: beyond this, the addresses that failed first are forgotten. */
const MAX_ADDRESSES = 10_000;

export function createFailures(maxAddresses = MAX_ADDRESSES): Failures {
  /** Oldest window first. */
  const windows = new Map<string, { count: number; readonly endMs: number }>();

  return {
    add(address, nowMs) {
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
    get size() {
      return windows.size;
    },
  };
}

/** A household usually has a whole /64 of IPv6 addresses, which counts as one address. */
function networkOf(address: string): string {
  if (!isIPv6(address) || address.includes(".")) return address;
  const [head = "", tail] = address.split("::");
  const groups = head.split(":").filter((group) => group !== "");
  const after = tail?.split(":").filter((group) => group !== "") ?? [];
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - groups.length - after.length);
  const all = [...groups, ...Array<string>(zeros).fill("0"), ...after];
  return all
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(":");
}
