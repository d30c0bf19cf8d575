/**
 * IP addresses: their canonical form, lists of networks from settings, and kinds of addresses. Pure.
 */
import { BlockList, isIP, isIPv4, isIPv6 } from "node:net";
import { BoundedMap } from "../base/bounded.ts";
import { copyOf } from "../base/ids.ts";
import { SettingError } from "../settings/read-settings.ts";

// --- canonical form ---

/**
 * Normalizes an address that the system reported for a socket: an IPv4 address on an IPv6 socket (`::ffff:192.0.2.1`)
 * becomes IPv4, and the zone id, which has a meaning on this machine only, is removed. Empty for a closed socket, whose
 * address is undefined.
 */
export function plainAddress(address: string | undefined): string {
  if (address === undefined || !address.includes(":")) return address ?? "";
  const zone = address.indexOf("%");
  const plain = zone < 0 ? address : address.slice(0, zone);
  return plain.startsWith("::ffff:") && plain.includes(".") ? plain.slice(7) : plain;
}

/** An IPv4-mapped IPv6 address (RFC 4291 §2.5.5.2), as `URL` writes it. */
const MAPPED = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/;

/**
 * The canonical form of an address (RFC 5952): `2001:DB8:0::1` becomes `2001:db8::1`, and `::ffff:c000:201` becomes
 * `192.0.2.1`. A zone id is removed. Undefined if `text` is not an address.
 */
export function canonicalAddress(text: string): string | undefined {
  if (isIPv4(text)) return text;
  const zone = text.indexOf("%");
  const address = zone < 0 ? text : text.slice(0, zone);
  if (!isIPv6(address)) return undefined;
  return hostOf(new URL(`http://[${address}]`));
}

/** The IPv4 address in an IPv4-mapped `address`, which is in the form that `URL` writes; other addresses unchanged. */
function unmapped(address: string): string {
  const [, high, low] = MAPPED.exec(address) ?? [];
  if (high === undefined || low === undefined) return address;
  const [upper, lower] = [Number.parseInt(high, 16), Number.parseInt(low, 16)];
  return [upper >> 8, upper & 0xff, lower >> 8, lower & 0xff].join(".");
}

/** Its 4 or 16 bytes; `address` is one, perhaps with a zone id. */
export function addressBytes(address: string): number[] {
  if (!address.includes(":")) return address.split(".").map(Number);
  const [plain = ""] = address.split("%", 1);
  const [head = "", tail = ""] = plain.split("::", 2);
  const front = groupBytes(head);
  const back = groupBytes(tail);
  return [...front, ...new Array<number>(16 - front.length - back.length).fill(0), ...back];
}

function groupBytes(text: string): number[] {
  if (text === "") return [];
  return text.split(":").flatMap((group) => {
    if (group.includes(".")) return group.split(".").map(Number);
    const word = Number.parseInt(group, 16);
    return [word >> 8, word & 0xff];
  });
}

/** What counts as one client: an IPv4 address, or the /64 of an IPv6 one, which a household usually has as a whole. */
export function networkOf(address: string): string {
  if (!isIPv6(address) || address.includes(".")) return address;
  // Not by `addressBytes`: that takes 2.3 µs instead of 1.1, and this is done for each request.
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

/** An address as it stands in a URL. */
export function urlHost(address: string): string {
  return address.includes(":") ? `[${address}]` : address;
}

// --- lists of networks ---

export interface Networks {
  /** Whether `address` is in one of the networks; false if it is not an address. */
  has(address: string): boolean;
}

/**
 * Parses the networks in a setting: `10.1.2.3`, `10.0.0.0/8`, `fd00::/8`; `::ffff:10.0.0.0/104` means `10.0.0.0/8`. Throws
 * `SettingError`.
 */
export function parseNetworks(setting: string, list: readonly string[]): Networks {
  const blocks = new BlockList();
  for (const entry of list) addRange(blocks, entry, setting);
  if (list.length === 0) return { has: () => false };
  const cache = new BoundedMap<string, boolean>(MAX_CACHED);
  return {
    has(address) {
      const cached = cache.get(address);
      if (cached !== undefined) return cached;
      const plain = canonicalAddress(address);
      // Not cached: a copy of a text that is not ASCII could be the text of an address.
      if (plain === undefined) return false;
      const isIn = blocks.check(plain, family(plain));
      cache.set(copyOf(address), isIn);
      return isIn;
    },
  };
}

/**
 * Addresses whose result is cached: `BlockList.check` allocates a native object on each call, which takes a tenth of the time
 * of a request (bench/http).
 */
const MAX_CACHED = 1024;

function addRange(blocks: BlockList, entry: string, setting: string): void {
  const slash = entry.indexOf("/");
  const address = slash < 0 ? entry : entry.slice(0, slash);
  const maxBits = isIPv4(address) ? 32 : 128;
  const length = slash < 0 ? String(maxBits) : entry.slice(slash + 1);
  // Digits only: `Number("")` is 0, and the range would be every address.
  const bits = /^\d{1,3}$/.test(length) ? Number(length) : Number.POSITIVE_INFINITY;
  if (isIP(address) === 0 || bits > maxBits) {
    throw new SettingError(
      `${setting}=${JSON.stringify(entry)} is not allowed; use addresses or ranges like 10.0.0.0/8`,
    );
  }
  const plain = canonicalAddress(address) ?? address;
  const isMapped = isIPv6(address) && isIPv4(plain) && bits >= MAPPED_PREFIX_BITS;
  if (isMapped) blocks.addSubnet(plain, bits - MAPPED_PREFIX_BITS, "ipv4");
  else blocks.addSubnet(address, bits, family(address));
}

/** The prefix length of IPv4-mapped addresses, `::ffff:0:0/96`. */
const MAPPED_PREFIX_BITS = 96;

function family(address: string): "ipv4" | "ipv6" {
  return isIPv4(address) ? "ipv4" : "ipv6";
}

// --- kinds of addresses ---

const LOOPBACK = parseNetworks("", ["127.0.0.0/8", "::1"]);
/** Unspecified, link-local (such as a cloud's metadata service), multicast and broadcast addresses. */
const UNUSABLE = parseNetworks("", [
  ...["0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"],
  ...["::", "fe80::/10", "ff00::/8"],
]);

/** Networks that are not routed publicly (RFC 1918, RFC 4193, RFC 6598). */
export const PRIVATE_NETWORKS: Networks = parseNetworks("", [
  ...["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"],
  "fc00::/7",
]);

export function isLoopback(host: string): boolean {
  return host === "localhost" || LOOPBACK.has(host);
}

/** Whether requests must not be sent to `address`: it is unspecified, link-local, multicast or broadcast. */
export function isUnusable(address: string): boolean {
  return UNUSABLE.has(address);
}

/** Whether listening on `address` means listening on every address of the machine. */
export function isWildcard(address: string): boolean {
  return address === "0.0.0.0" || address === "::";
}

/** The host of an http URL: an address without brackets, or a name in lower case. */
export function hostOf(url: URL): string {
  if (!url.hostname.startsWith("[")) return url.hostname;
  return unmapped(url.hostname.slice(1, -1));
}
