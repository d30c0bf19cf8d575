/**
 * The client of a request, and the forwarding fields that describe it to the worker. Forwarding fields are trusted from
 * peers listed in CT_TRUSTED_PROXIES; for any other peer the client is the address of the connection. Pure.
 *
 * Precedence among a trusted proxy's fields:
 * - the client's address: X-Forwarded-For, else Forwarded, else X-Real-IP
 * - its scheme: X-Forwarded-Proto, else Forwarded; its host: X-Forwarded-Host, else Forwarded
 *
 * X-Forwarded-For comes first because nearly every proxy appends to it, while many pass on a Forwarded or an X-Real-IP that
 * their client forged.
 */
import { forwardedScheme, nodeAddress } from "../../../shared/net/forwarding.ts";
import { checkedField, type Field } from "./fields.ts";
import { isHost } from "./request-head.ts";

/** The fields that this file reads and `pushForwarding` writes. */
export const FORWARDING: ReadonlySet<string> = new Set([
  "forwarded",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-proto",
  "x-real-ip",
]);

/** The proxies in front of the balancer whose forwarding fields are trusted. */
export interface TrustedProxies {
  has(address: string): boolean;
}

/** The address of the client of a request from `peerAddress`: the last one that trusted proxies vouch for. */
export function clientAddress(
  fields: readonly Field[],
  peerAddress: string,
  trusted: TrustedProxies,
): string {
  if (!trusted.has(peerAddress)) return peerAddress;
  const elements = readForwarded(fields);
  return lastUntrusted(chainOf(fields, elements), peerAddress, trusted);
}

/** Appends the forwarding fields of a request that was received from `hop.peerAddress`. */
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
  // A socket that has closed has no remote address.
  const peerAddress = hop.peerAddress || "unknown";
  const proto = hop.secure ? "https" : "http";
  const report = hop.trusted.has(peerAddress)
    ? readProxy(head.fields, peerAddress, hop.trusted)
    : undefined;
  // Kept from untrusted peers too: a reader goes from the end of the list and stops at the first address it does not trust.
  const before = joinValues(head.fields, "x-forwarded-for") ?? report?.chain;
  const element = describeHop(peerAddress, proto, host ?? "");
  fields.push(
    checkedField(
      "X-Forwarded-For",
      "x-forwarded-for",
      before === undefined ? peerAddress : `${before}, ${peerAddress}`,
    ),
    checkedField("X-Forwarded-Proto", "x-forwarded-proto", report?.proto ?? proto),
    checkedField("X-Real-IP", "x-real-ip", report?.address ?? peerAddress),
    checkedField(
      "Forwarded",
      "forwarded",
      report?.forwarded === undefined ? element : `${report.forwarded}, ${element}`,
    ),
  );
  const forwardedHost = report?.host ?? host;
  if (forwardedHost !== undefined) {
    fields.push(checkedField("X-Forwarded-Host", "x-forwarded-host", forwardedHost));
  }
}

/** What a trusted proxy's fields say about the client. */
interface ProxyReport {
  readonly address: string;
  readonly proto: "http" | "https" | undefined;
  readonly host: string | undefined;
  /** Its Forwarded fields as one list; undefined when there is none or one is malformed. */
  readonly forwarded: string | undefined;
  /** The addresses of Forwarded, for a worker that reads only X-Forwarded-For. */
  readonly chain: string | undefined;
}

function readProxy(
  fields: readonly Field[],
  peerAddress: string,
  trusted: TrustedProxies,
): ProxyReport {
  const elements = readForwarded(fields);
  const client = clientElement(elements, trusted);
  const isWellFormed = !elements.includes(MALFORMED);
  return {
    address: lastUntrusted(chainOf(fields, elements), peerAddress, trusted),
    proto:
      forwardedScheme(joinValues(fields, "x-forwarded-proto")) ?? forwardedScheme(client?.proto),
    host: joinValues(fields, "x-forwarded-host") ?? hostOf(client),
    // Appended to a list with an open quote, our own element would be hidden.
    forwarded: isWellFormed ? joinValues(fields, "forwarded") : undefined,
    chain:
      elements.length === 0
        ? undefined
        : elements.map(({ node }) => nodeAddress(node ?? "") ?? "unknown").join(", "),
  };
}

/** The client as each proxy on the way names it; the nearest proxy's entry is the last. */
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
 * The first address from the end of the chain that is not a trusted proxy: the client may have forged the entries before
 * it. At an entry without an address, the address of the proxy that wrote it.
 */
function lastUntrusted(
  chain: readonly string[],
  peerAddress: string,
  trusted: TrustedProxies,
): string {
  let address = peerAddress;
  for (let at = chain.length - 1; at >= 0; at--) {
    const entry = chain[at]?.trim() ?? "";
    // RFC 9110 §5.6.1.2: empty list elements are ignored.
    if (entry === "") continue;
    const named = nodeAddress(entry);
    if (named === undefined) return address;
    address = named;
    if (!trusted.has(named)) return named;
  }
  return address;
}

/** All fields of a name as one list; undefined when all are missing or empty. */
function joinValues(fields: readonly Field[], lower: string): string | undefined {
  let joined: string | undefined;
  for (const field of fields) {
    if (field.lower !== lower || field.value === "") continue;
    joined = joined === undefined ? field.value : `${joined}, ${field.value}`;
  }
  return joined;
}

// --- Forwarded (RFC 7239 §4) ---

/** What one proxy says about its client. */
interface ForwardedElement {
  /** Its `for`. */
  readonly node: string | undefined;
  readonly proto: string | undefined;
  readonly host: string | undefined;
}

/** Stands for a malformed field: nothing before it is trusted. */
const MALFORMED: ForwardedElement = { node: undefined, proto: undefined, host: undefined };

/**
 * The elements of all Forwarded fields, in order. Each field is parsed alone: an open quote in one that the client forged
 * must not swallow the one that a proxy added.
 */
function readForwarded(fields: readonly Field[]): readonly ForwardedElement[] {
  const elements: ForwardedElement[] = [];
  for (const { lower, value } of fields) {
    if (lower === "forwarded") elements.push(...(parseForwarded(value) ?? [MALFORMED]));
  }
  return elements;
}

/**
 * One `name=value` and its delimiter. Addresses with colons and brackets must be quoted, but often are not. Each position
 * is tried once and no part can match in two ways, so matching takes linear time.
 */
const PAIR =
  /[ \t]*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^",;= \t]*))[ \t]*(;|,|$)/y;
/** RFC 7239 §4 allows empty pairs, and RFC 9110 §5.6.1.2 empty elements. */
const EMPTY = /[ \t]*(;|,|$)/y;

/** The elements of one field; undefined when it is malformed. */
function parseForwarded(value: string): readonly ForwardedElement[] | undefined {
  const elements: ForwardedElement[] = [];
  let pairs = new Map<string, string>();
  let at = 0;
  while (at < value.length) {
    PAIR.lastIndex = at;
    EMPTY.lastIndex = at;
    const pair = PAIR.exec(value);
    const [text, end] = pair === null ? (EMPTY.exec(value) ?? []) : [pair[0], pair[4]];
    if (text === undefined) return undefined;
    at += text.length;
    const [, name, quoted, plain = ""] = pair ?? [];
    if (name !== undefined) {
      const lower = name.toLowerCase();
      // Each parameter occurs once (RFC 7239 §4), or two readers could take different ones.
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

/** The element that describes the client: that of the trusted proxy nearest to it. */
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
