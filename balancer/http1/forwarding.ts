/**
 * Who the client of a request is, and what a worker is told about it. A proxy is believed when its address is listed in
 * CT_TRUSTED_PROXIES; of any other peer only the address of the connection counts. Pure.
 *
 * What of a trusted proxy's fields counts, when several say something:
 * - the client's address: X-Forwarded-For, else Forwarded, else X-Real-IP
 * - its scheme: X-Forwarded-Proto, else Forwarded; its host: X-Forwarded-Host, else Forwarded
 *
 * X-Forwarded-For comes first because nearly every proxy appends to it, while many hand on a Forwarded or an X-Real-IP that
 * their client made up.
 */
import { forwardedScheme, nodeAddress } from "../../shared/net/forwarding.ts";
import { parseNetworks } from "../../shared/net/networks.ts";
import { checkedField, type Field } from "./fields.ts";
import { isHost } from "./request-head.ts";

/** The fields that `pushForwarding` writes, and that are read here. */
export const FORWARDING: ReadonlySet<string> = new Set([
  "forwarded",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-proto",
  "x-real-ip",
]);

/** The proxies in front of us whose fields about their clients are believed. */
export interface TrustedProxies {
  has(address: string): boolean;
}

/** Reads `CT_TRUSTED_PROXIES`: addresses and CIDR ranges. Throws `SettingError`. */
export function createTrustedProxies(list: readonly string[]): TrustedProxies {
  return parseNetworks("CT_TRUSTED_PROXIES", list);
}

/** The client of a request whose connection comes from `peerAddress`, as far as trusted proxies vouch for it. */
export function clientAddress(
  fields: readonly Field[],
  peerAddress: string,
  trusted: TrustedProxies,
): string {
  if (!trusted.has(peerAddress)) return peerAddress;
  const elements = readForwarded(fields);
  return lastUntrusted(chainOf(fields, elements), peerAddress, trusted);
}

/** Appends the forwarding fields of a request that came from `peerAddress`. `host`: of the request itself. */
export function pushForwarding(
  fields: Field[],
  head: { readonly fields: readonly Field[]; readonly host: string | undefined },
  hop: {
    readonly peerAddress: string;
    readonly secure: boolean;
    readonly trusted: TrustedProxies;
  },
): void {
  const { host } = head;
  // The system knows no address of a client that is gone already.
  const peerAddress = hop.peerAddress || "unknown";
  const proto = hop.secure ? "https" : "http";
  const said = hop.trusted.has(peerAddress)
    ? readProxy(head.fields, peerAddress, hop.trusted)
    : undefined;
  // Always kept: a reader counts from its end, and only what trusted proxies appended counts.
  const before = joinValues(head.fields, "x-forwarded-for") ?? said?.chain;
  const seen = describeHop(peerAddress, proto, host ?? "");
  fields.push(
    checkedField(
      "X-Forwarded-For",
      "x-forwarded-for",
      before === undefined ? peerAddress : `${before}, ${peerAddress}`,
    ),
    checkedField("X-Forwarded-Proto", "x-forwarded-proto", said?.proto ?? proto),
    checkedField("X-Real-IP", "x-real-ip", said?.address ?? peerAddress),
    checkedField(
      "Forwarded",
      "forwarded",
      said?.forwarded === undefined ? seen : `${said.forwarded}, ${seen}`,
    ),
  );
  const forwardedHost = said?.host ?? host;
  if (forwardedHost !== undefined) {
    fields.push(checkedField("X-Forwarded-Host", "x-forwarded-host", forwardedHost));
  }
}

/** What a trusted proxy says. */
interface ProxyReport {
  readonly address: string;
  readonly proto: "http" | "https" | undefined;
  readonly host: string | undefined;
  /** Its Forwarded fields as one list; undefined when there is none, or one that cannot be read. */
  readonly forwarded: string | undefined;
  /** The addresses of Forwarded, for a worker that reads X-Forwarded-For only. */
  readonly chain: string | undefined;
}

function readProxy(
  fields: readonly Field[],
  peerAddress: string,
  trusted: TrustedProxies,
): ProxyReport {
  const elements = readForwarded(fields);
  const client = clientElement(elements, trusted);
  const isReadable = !elements.includes(UNREADABLE);
  return {
    address: lastUntrusted(chainOf(fields, elements), peerAddress, trusted),
    proto:
      forwardedScheme(joinValues(fields, "x-forwarded-proto")) ?? forwardedScheme(client?.proto),
    host: joinValues(fields, "x-forwarded-host") ?? hostOf(client),
    // Appending to a list with an open quote would hide what we add.
    forwarded: isReadable ? joinValues(fields, "forwarded") : undefined,
    chain:
      elements.length === 0
        ? undefined
        : elements.map(({ node }) => nodeAddress(node ?? "") ?? "unknown").join(", "),
  };
}

/** The entries that name the clients of proxies, the nearest proxy's last. */
function chainOf(
  fields: readonly Field[],
  elements: readonly ForwardedElement[],
): readonly string[] {
  const forwardedFor = joinValues(fields, "x-forwarded-for");
  if (forwardedFor !== undefined) return forwardedFor.split(",");
  if (elements.length > 0) return elements.map(({ node }) => node ?? "unknown");
  const realIp = joinValues(fields, "x-real-ip");
  return realIp === undefined ? [] : [realIp];
}

/**
 * From the end of the chain on, the first address that is no trusted proxy: what stands before it, the client may have made
 * up. Where an entry names no address, the proxy that wrote it is all that is known.
 */
function lastUntrusted(
  chain: readonly string[],
  peerAddress: string,
  trusted: TrustedProxies,
): string {
  let address = peerAddress;
  for (let at = chain.length - 1; at >= 0; at--) {
    const entry = chain[at]?.trim() ?? "";
    // RFC 9110 §5.6.1.2: empty elements of a list do not count.
    if (entry === "") continue;
    const named = nodeAddress(entry);
    if (named === undefined) return address;
    address = named;
    if (!trusted.has(named)) return named;
  }
  return address;
}

/** All fields of a name as one list; undefined when there is none or nothing in it. */
function joinValues(fields: readonly Field[], lower: string): string | undefined {
  let joined: string | undefined;
  for (const field of fields) {
    if (field.lower !== lower || field.value === "") continue;
    joined = joined === undefined ? field.value : `${joined}, ${field.value}`;
  }
  return joined;
}

// --- Forwarded (RFC 7239 §4) ---

/** What one proxy says of its client. */
interface ForwardedElement {
  /** Its `for`. */
  readonly node: string | undefined;
  readonly proto: string | undefined;
  readonly host: string | undefined;
}

/** Stands for a field that cannot be read: nothing in front of it may count. */
const UNREADABLE: ForwardedElement = { node: undefined, proto: undefined, host: undefined };

/**
 * The elements of all Forwarded fields, in order. Each field is read by itself: an open quote in the one that a client made
 * up must not swallow the one that a proxy added.
 */
function readForwarded(fields: readonly Field[]): readonly ForwardedElement[] {
  const elements: ForwardedElement[] = [];
  for (const { lower, value } of fields) {
    if (lower === "forwarded") elements.push(...(parseForwarded(value) ?? [UNREADABLE]));
  }
  return elements;
}

/**
 * One `name=value` and what ends it. Addresses with colons and brackets have to be quoted, but often are not. Each position
 * is tried once and no part can match in two ways, so it takes linear time.
 */
const PAIR =
  /[ \t]*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^",;= \t]*))[ \t]*(;|,|$)/y;
/** RFC 7239 §4 lets pairs, and RFC 9110 §5.6.1.2 elements, be empty. */
const NOTHING = /[ \t]*(;|,|$)/y;

/** The elements of one field; undefined when it cannot be read as a list of them. */
function parseForwarded(value: string): readonly ForwardedElement[] | undefined {
  const elements: ForwardedElement[] = [];
  let pairs = new Map<string, string>();
  let at = 0;
  while (at < value.length) {
    PAIR.lastIndex = at;
    NOTHING.lastIndex = at;
    const pair = PAIR.exec(value);
    const [text, end] = pair === null ? (NOTHING.exec(value) ?? []) : [pair[0], pair[4]];
    if (text === undefined) return undefined;
    at += text.length;
    const [, name, quoted, plain = ""] = pair ?? [];
    if (name !== undefined) {
      const lower = name.toLowerCase();
      // Each parameter stands there once (RFC 7239 §4), or two readers could take different ones.
      if (pairs.has(lower)) return undefined;
      pairs.set(lower, quoted === undefined ? plain : quoted.replace(/\\(.)/g, "$1"));
    }
    if (end === ";" || pairs.size === 0) continue;
    elements.push(elementOf(pairs));
    pairs = new Map();
  }
  if (pairs.size > 0) elements.push(elementOf(pairs));
  return elements;
}

function elementOf(pairs: ReadonlyMap<string, string>): ForwardedElement {
  return { node: pairs.get("for"), proto: pairs.get("proto"), host: pairs.get("host") };
}

/** The element that speaks of the client: that of the first trusted proxy on its way. */
function clientElement(
  elements: readonly ForwardedElement[],
  trusted: TrustedProxies,
): ForwardedElement | undefined {
  let element: ForwardedElement | undefined;
  for (let at = elements.length - 1; at >= 0; at--) {
    element = elements[at];
    const named = nodeAddress(element?.node ?? "");
    if (named === undefined || !trusted.has(named)) return element;
  }
  return element;
}

function hostOf(element: ForwardedElement | undefined): string | undefined {
  const { host } = element ?? {};
  return host !== undefined && isHost(host) ? host : undefined;
}

/** Our own element. */
function describeHop(address: string, proto: string, host: string): string {
  const node = address.includes(":") ? `"[${address}]"` : address;
  const named = host === "" ? "" : `;host="${host}"`;
  return `for=${node}${named};proto=${proto}`;
}
