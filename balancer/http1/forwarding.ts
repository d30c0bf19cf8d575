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
import { copyOf } from "../../shared/base/ids.ts";
import { forwardedScheme, nodeAddress } from "../../shared/net/forwarding.ts";
import { parseNetworks } from "../../shared/net/networks.ts";
import { SettingError } from "../../shared/settings/read-settings.ts";
import type { Field } from "./fields.ts";
import type { RequestHead } from "./head.ts";
import { isHost } from "./request-head.ts";

/** The proxies in front of the balancer whose forwarding fields are trusted. */
export interface TrustedProxies {
  has(address: string): boolean;
}

/** Parses `CT_TRUSTED_PROXIES`: addresses and CIDR ranges. Throws `SettingError`. */
export function createTrustedProxies(list: readonly string[]): TrustedProxies {
  return parseNetworks("CT_TRUSTED_PROXIES", list);
}

/** Of the settings. Throws `SettingError`. */
export function readTrustedProxies({
  trustedProxies,
  proxyProtocol,
}: {
  readonly trustedProxies: readonly string[];
  readonly proxyProtocol: boolean;
}): TrustedProxies {
  if (proxyProtocol && trustedProxies.length === 0) {
    throw new SettingError(
      "CT_PROXY_PROTOCOL=on takes headers of peers in CT_TRUSTED_PROXIES only, which has none; set it to the addresses of the TCP balancers in front",
    );
  }
  return createTrustedProxies(trustedProxies);
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

/** What `ForwardingFields` needs of a request. */
type ForwardedRequest = Pick<RequestHead, "fields" | "host" | "values">;

/**
 * Writes the forwarding fields of the requests of one client's connection. An untrusted client's depend on its address and
 * on Host, so they are the same for nearly all of its requests.
 */
export class ForwardingFields {
  readonly #peerAddress: string;
  readonly #proto: "http" | "https";
  /** Of the last request; the next two are for it. */
  #host: string | undefined;
  /** X-Forwarded-For of a request that has none. */
  #chain = "";
  /** The fields behind X-Forwarded-For. */
  #others = "";

  constructor(peerAddress: string, secure: boolean) {
    // A socket that has closed has no remote address.
    this.#peerAddress = peerAddress || "unknown";
    this.#proto = secure ? "https" : "http";
  }

  /** The fields of one request, as they are sent. */
  linesFor(head: ForwardedRequest, trusted: TrustedProxies): string {
    if (trusted.has(this.#peerAddress)) return this.#linesBehindProxy(head, trusted);
    if (this.#others === "" || head.host !== this.#host) this.#describe(head.host);
    // Kept from untrusted peers too: a reader goes from the end of the list and stops at the first address it does not trust.
    const before = head.values.forwardedFor;
    const chain = before === undefined ? this.#chain : this.#chainAfter(before);
    return chain + this.#others;
  }

  #describe(host: string | undefined): void {
    const element = describeHop(this.#peerAddress, this.#proto, host ?? "");
    // Copies, because parts of a head would keep it in memory as long as the connection.
    this.#host = host === undefined ? undefined : copyOf(host);
    this.#chain = copyOf(this.#chainAfter(undefined));
    this.#others = copyOf(linesOf(this.#proto, this.#peerAddress, element, host));
  }

  #chainAfter(before: string | undefined): string {
    const address = this.#peerAddress;
    return `X-Forwarded-For: ${before === undefined ? address : `${before}, ${address}`}\r\n`;
  }

  #linesBehindProxy(head: ForwardedRequest, trusted: TrustedProxies): string {
    const report = readProxy(head.fields, this.#peerAddress, trusted);
    const element = describeHop(this.#peerAddress, this.#proto, head.host ?? "");
    return (
      this.#chainAfter(head.values.forwardedFor ?? report.chain) +
      linesOf(
        report.proto ?? this.#proto,
        report.address,
        report.forwarded === undefined ? element : `${report.forwarded}, ${element}`,
        report.host ?? head.host,
      )
    );
  }
}

function linesOf(
  proto: "http" | "https",
  address: string,
  forwarded: string,
  host: string | undefined,
): string {
  const lines = `X-Forwarded-Proto: ${proto}\r\nX-Real-IP: ${address}\r\nForwarded: ${forwarded}\r\n`;
  return host === undefined ? lines : `${lines}X-Forwarded-Host: ${host}\r\n`;
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
