/**
 * Parses the values of forwarding headers (`X-Forwarded-*`, `Forwarded`, `X-Real-IP`), whose spelling differs among proxies.
 * Balancers and workers share this code so that they never disagree about a client's address. Pure.
 */
import { isIPv4 } from "node:net";
import { canonicalAddress } from "./networks.ts";

/** RFC 7239 §6: the part after the colon, a number or an obfuscated port. */
const PORT = /^(?:\d{1,5}|_[A-Za-z0-9._-]+)$/;
/** RFC 6874 §2: `%eth0`, or `%25eth0` as in a URL. */
const ZONE = /^%[A-Za-z0-9._~-]+$/;

/**
 * The address in one entry of X-Forwarded-For or in one `for=` of Forwarded, without port, brackets, quotes and zone id:
 * `192.0.2.1:50718`, `"[2001:db8::1]:443"`, `fe80::1%eth0`. Undefined if it contains no address (`unknown`, `_hidden`,
 * garbage).
 */
export function nodeAddress(text: string): string | undefined {
  const node = unquoted(text.trim());
  if (node.startsWith("[")) {
    const end = node.indexOf("]");
    const suffix = node.slice(end + 1);
    if (end < 0 || (suffix !== "" && !isPort(suffix))) return undefined;
    return withoutZone(node.slice(1, end));
  }
  const colon = node.indexOf(":");
  if (colon < 0 || colon !== node.lastIndexOf(":")) return withoutZone(node);
  const address = node.slice(0, colon);
  return isIPv4(address) && isPort(node.slice(colon)) ? address : undefined;
}

function unquoted(text: string): string {
  const isQuoted = text.length >= 2 && text.startsWith('"') && text.endsWith('"');
  return isQuoted ? text.slice(1, -1) : text;
}

function isPort(text: string): boolean {
  return text.startsWith(":") && PORT.test(text.slice(1));
}

function withoutZone(text: string): string | undefined {
  const zone = text.indexOf("%");
  if (zone >= 0 && (isIPv4(text.slice(0, zone)) || !ZONE.test(text.slice(zone)))) return undefined;
  return canonicalAddress(text);
}

/**
 * The scheme that the client used, from X-Forwarded-Proto or `proto=`. In a list the client's own scheme is the first entry.
 * Traefik writes `wss` and `ws` for a WebSocket. Undefined for any other value.
 */
export function forwardedScheme(text: string | undefined): "http" | "https" | undefined {
  return SCHEMES.get(text?.split(",", 1)[0]?.trim().toLowerCase() ?? "");
}

const SCHEMES: ReadonlyMap<string, "http" | "https"> = new Map([
  ["https", "https"],
  ["wss", "https"],
  ["http", "http"],
  ["ws", "http"],
]);
