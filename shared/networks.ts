/**
 * Addresses and ranges of addresses that an operator lists, and what kind of address a text is. Pure.
 */
import { BlockList, isIP, isIPv4 } from "node:net";
import { SettingError } from "./config.ts";

export interface Networks {
  /** Whether `address` is in one of them. False for what is no address. */
  has(address: string): boolean;
}

/** The networks of a setting's list: `10.1.2.3`, `10.0.0.0/8`, `fd00::/8`. Throws `SettingError`. */
export function parseNetworks(setting: string, list: readonly string[]): Networks {
  const known = new BlockList();
  for (const entry of list) addRange(known, entry, setting);
  if (list.length === 0) return { has: () => false };
  const answers = new Map<string, boolean>();
  return {
    has(address) {
      let answer = answers.get(address);
      if (answer === undefined) {
        answer = isIP(address) !== 0 && known.check(address, family(address));
        if (answers.size >= MAX_ANSWERS) answers.clear();
        answers.set(address, answer);
      }
      return answer;
    },
  };
}

/**
 * Addresses whose answer is remembered: `BlockList.check` builds an object of the system each time, a tenth of what a
 * request costs (bench/http).
 */
const MAX_ANSWERS = 1024;

function addRange(known: BlockList, entry: string, setting: string): void {
  const slash = entry.indexOf("/");
  const address = slash < 0 ? entry : entry.slice(0, slash);
  const maxBits = isIPv4(address) ? 32 : 128;
  const length = slash < 0 ? String(maxBits) : entry.slice(slash + 1);
  // Digits only: `Number` takes nothing at all for 0, and the range would be every address.
  const bits = /^\d{1,3}$/.test(length) ? Number(length) : Number.POSITIVE_INFINITY;
  if (isIP(address) === 0 || bits > maxBits) {
    throw new SettingError(
      `${setting}=${JSON.stringify(entry)} is not allowed; use addresses or ranges like 10.0.0.0/8`,
    );
  }
  known.addSubnet(address, bits, family(address));
}

function family(address: string): "ipv4" | "ipv6" {
  return isIPv4(address) ? "ipv4" : "ipv6";
}

// --- kinds of addresses ---

const LOOPBACK = parseNetworks("", ["127.0.0.0/8", "::1"]);
/** Addresses that lead nowhere, to the same link only (a cloud's metadata service among them), or to many at once. */
const UNUSABLE = parseNetworks("", [
  ...["0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"],
  ...["::", "fe80::/10", "ff00::/8"],
]);

/** Networks that are not routed in public (RFC 1918, RFC 4193, RFC 6598). */
export const PRIVATE_NETWORKS: Networks = parseNetworks("", [
  ...["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"],
  "fc00::/7",
]);

/** Whether it leads to this machine itself. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || LOOPBACK.has(host);
}

/** Whether it is none to call: unspecified, link-local, multicast or broadcast. */
export function isUnusable(address: string): boolean {
  return UNUSABLE.has(address);
}

/** Whether listening on it means every address of the machine. */
export function isWildcard(address: string): boolean {
  return address === "0.0.0.0" || address === "::";
}

/** The host of an http URL as it is called: an address without brackets, or a name in lower case. */
export function hostOf(url: URL): string {
  return url.hostname.startsWith("[") ? url.hostname.slice(1, -1) : url.hostname;
}
