/**
 * How an address is written, addresses and ranges that an operator lists, and what kind of address a text is. Pure.
 */
import { BlockList, isIP, isIPv4, isIPv6 } from "node:net";
import { SettingError } from "../settings/read-settings.ts";

// --- one spelling per address ---

/**
 * An address as the system reports it for a socket, in the form that everything else here uses: an IPv4 address that came
 * in on an IPv6 socket (`::ffff:192.0.2.1`) as IPv4, and no zone id, which means nothing to others. Undefined, for a
 * socket that has gone, becomes empty.
 */
export function plainAddress(address: string | undefined): string {
  if (address === undefined || !address.includes(":")) return address ?? "";
  const zone = address.indexOf("%");
  const plain = zone < 0 ? address : address.slice(0, zone);
  return plain.startsWith("::ffff:") && plain.includes(".") ? plain.slice(7) : plain;
}

/** An IPv4 address within IPv6 (RFC 4291 §2.5.5.2), as `URL` writes it. */
const MAPPED = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/;

/**
 * The one spelling of an address that somebody wrote (RFC 5952): `2001:DB8:0::1` is `2001:db8::1`, and
 * `::ffff:c000:201` is `192.0.2.1`. Undefined for what is no address. A zone id is removed.
 */
export function canonicalAddress(text: string): string | undefined {
  if (isIPv4(text)) return text;
  const zone = text.indexOf("%");
  const address = zone < 0 ? text : text.slice(0, zone);
  if (!isIPv6(address)) return undefined;
  return hostOf(new URL(`http://[${address}]`));
}

/** The IPv4 address in `address`, which is written as `URL` writes it, or `address` itself. */
function unmapped(address: string): string {
  const [, high, low] = MAPPED.exec(address) ?? [];
  if (high === undefined || low === undefined) return address;
  const [upper, lower] = [Number.parseInt(high, 16), Number.parseInt(low, 16)];
  return [upper >> 8, upper & 0xff, lower >> 8, lower & 0xff].join(".");
}

// --- lists of networks ---

export interface Networks {
  /** Whether `address` is in one of them. False for what is no address. */
  has(address: string): boolean;
}

/**
 * The networks of a setting's list: `10.1.2.3`, `10.0.0.0/8`, `fd00::/8`; `::ffff:10.0.0.0/104` is `10.0.0.0/8`. Throws
 * `SettingError`.
 */
export function parseNetworks(setting: string, list: readonly string[]): Networks {
  const known = new BlockList();
  for (const entry of list) addRange(known, entry, setting);
  if (list.length === 0) return { has: () => false };
  const answers = new Map<string, boolean>();
  return {
    has(address) {
      let answer = answers.get(address);
      if (answer === undefined) {
        const plain = canonicalAddress(address);
        answer = plain !== undefined && known.check(plain, family(plain));
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
  const plain = canonicalAddress(address) ?? address;
  const isMapped = isIPv6(address) && isIPv4(plain) && bits >= MAPPED_PREFIX_BITS;
  if (isMapped) known.addSubnet(plain, bits - MAPPED_PREFIX_BITS, "ipv4");
  else known.addSubnet(address, bits, family(address));
}

/** Bits of `::ffff:0:0/96`, in front of an IPv4 address within IPv6. */
const MAPPED_PREFIX_BITS = 96;

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
  if (!url.hostname.startsWith("[")) return url.hostname;
  return unmapped(url.hostname.slice(1, -1));
}
