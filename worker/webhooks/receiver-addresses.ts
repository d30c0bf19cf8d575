/**
 * Where receivers of webhooks may be: at public addresses over https, and in the networks of CT_WEBHOOK_NETWORKS. Addresses are
 * checked when they are connected to, so a name cannot change its meaning in between.
 */
import { type LookupAddress, type LookupOptions, lookup as systemLookup } from "node:dns";
import { isIP, type LookupFunction } from "node:net";
import { EdgeError } from "../../shared/base/errors.ts";
import {
  canonicalAddress,
  hostOf,
  type Networks,
  parseNetworks,
} from "../../shared/net/networks.ts";

export interface AddressRules {
  readonly allowed: Networks;
}

/** Throws `SettingError`. */
export function parseAddressRules(networks: readonly string[]): AddressRules {
  return { allowed: parseNetworks("CT_WEBHOOK_NETWORKS", networks) };
}

/** The address of a receiver is not allowed. */
export class RefusedAddressError extends EdgeError {
  readonly code = "EDGE_WEBHOOK_ADDRESS";
}

/**
 * What is not reached over the public internet (RFC 6890 and the registries of IANA). Of IPv6, only 2000::/3 is public; in it,
 * these are not, or lead to an IPv4 address that the name does not show (6to4, Teredo). 64:ff9b::/96 (NAT64) is outside.
 */
const INTERNAL: Networks = parseNetworks("", [
  ...["0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"],
  ...["172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16"],
  ...["198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"],
  ...["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"],
]);
const PUBLIC_IPV6: Networks = parseNetworks("", ["2000::/3"]);

/** Whether an address may be connected to; plain http only in the networks that the operator has allowed. */
export function isAllowed(address: string, protocol: string, rules: AddressRules): boolean {
  const plain = canonicalAddress(address);
  if (plain === undefined) return false;
  if (rules.allowed.has(plain)) return true;
  if (protocol !== "https:" || INTERNAL.has(plain)) return false;
  return isIP(plain) === 4 || PUBLIC_IPV6.has(plain);
}

/** What is wrong with the URL of a receiver, as far as can be said without asking DNS. */
export function urlProblem(text: string, rules: AddressRules): string | undefined {
  if (!URL.canParse(text)) return "url is not a URL like https://example.com/hooks";
  const url = new URL(text);
  if (url.protocol !== "https:" && url.protocol !== "http:") return "url must begin with https://";
  if (url.username !== "" || url.password !== "") {
    return "url must not have a user or a password: they would appear in logs";
  }
  const host = hostOf(url);
  if (isIP(host) !== 0 && !isAllowed(host, url.protocol, rules)) return refusal(host, url.protocol);
  if (isLocalName(host) && !isAllowed("127.0.0.1", url.protocol, rules)) {
    return refusal(host, url.protocol);
  }
  return undefined;
}

/** RFC 6761 §6.3. */
function isLocalName(host: string): boolean {
  return /(^|\.)localhost\.?$/.test(host);
}

function refusal(address: string, protocol: string): string {
  return protocol === "https:"
    ? `${address} is not a public address; if receivers may be there, add its network to CT_WEBHOOK_NETWORKS`
    : `plain http is not allowed to ${address}; use https, or add its network to CT_WEBHOOK_NETWORKS`;
}

/**
 * For the options of a connection. Only addresses that are allowed remain; without one, the connection fails with
 * `RefusedAddressError`. Node does not call it for a host that is an address: see `checkHost`.
 */
export function createLookup(
  protocol: string,
  rules: AddressRules,
  lookup: typeof systemLookup = systemLookup,
): LookupFunction {
  return (hostname, options, callback) => {
    const wanted: LookupOptions & { all: true } = { ...options, all: true };
    lookup(hostname, wanted, (error, found: LookupAddress[]) => {
      if (error !== null) return callback(error, []);
      const allowed = found.filter(({ address }) => isAllowed(address, protocol, rules));
      const [first] = allowed;
      if (first === undefined) {
        const which = found.map(({ address }) => address).join(", ");
        return callback(new RefusedAddressError(refusal(`${hostname} (${which})`, protocol)), []);
      }
      if (options.all === true) callback(null, allowed);
      else callback(null, first.address, first.family);
    });
  };
}

/**
 * What `createLookup` does not see: a host that is an address, and a name that a proxy resolves. Such a name is resolved here too
 * if plain http is sent to it; over https, the proxy decides where it leads. Rejects with `RefusedAddressError`.
 */
export async function checkHost(
  url: URL,
  rules: AddressRules,
  lookup: typeof systemLookup = systemLookup,
): Promise<void> {
  const problem = urlProblem(url.href, rules);
  if (problem !== undefined) throw new RefusedAddressError(problem);
  const host = hostOf(url);
  if (url.protocol !== "http:" || isIP(host) !== 0) return;
  await new Promise<void>((resolve, reject) => {
    createLookup(url.protocol, rules, lookup)(host, {}, (error) =>
      error ? reject(error) : resolve(),
    );
  });
}
