/**
 * The values of forwarding fields (`X-Forwarded-*`, `Forwarded`, `X-Real-IP`), which each proxy writes in a way of its
 * own. Balancers and workers read them here, so that they never disagree about who a client is. Pure.
 */
import { isIPv4 } from "node:net";
import { canonicalAddress } from "./networks.ts";

/** RFC 7239 §6: what stands behind the colon, a number or an obfuscated port. */
const PORT = /^(?:\d{1,5}|_[A-Za-z0-9._-]+)$/;
/** RFC 6874 §2: `%eth0`, and `%25eth0` where a URL was expected. */
const ZONE = /^%[A-Za-z0-9._~-]+$/;

/**
 * The address in one entry of X-Forwarded-For or in one `for=` of Forwarded, without its port, brackets, quotes and zone
 * id: `192.0.2.1:50718`, `"[2001:db8::1]:443"`, `fe80::1%eth0`. Undefined for what names no address (`unknown`,
 * `_hidden`, garbage).
 */
export function nodeAddress(text: string): string | undefined {
  const node = unquoted(text.trim());
  if (node.startsWith("[")) {
    const end = node.indexOf("]");
    const behind = node.slice(end + 1);
    if (end < 0 || (behind !== "" && !isPort(behind))) return undefined;
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
 * Whether a client used TLS, as X-Forwarded-Proto or `proto=` says it. The first entry of a list is what the client itself
 * used; `wss` and `ws` are what Traefik writes for a WebSocket. Undefined for any other word.
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
