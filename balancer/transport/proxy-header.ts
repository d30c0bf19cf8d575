/**
 * The header of the PROXY protocol, versions 1 and 2, with which a TCP balancer names the client of a connection
 * (haproxy.org/download/2.6/doc/proxy-protocol.txt). Pure.
 */
import { canonicalAddress } from "../../shared/net/networks.ts";

/** What stands at the beginning of a connection. */
export type ReadHeader =
  /** More bytes are needed. */
  | { readonly state: "incomplete" }
  /** Something else. */
  | { readonly state: "none" }
  | { readonly state: "invalid"; readonly reason: string }
  | ProxyHeader;

interface ProxyHeader {
  readonly state: "read";
  /** Bytes; the client's own follow. */
  readonly length: number;
  /** The client's address; empty: the proxy does not know it; undefined: the connection is the proxy's own, like a health check. */
  readonly address: string | undefined;
  /** Whether the proxy says that the client came by TLS, which it ended. */
  readonly isSecure: boolean;
}

const INCOMPLETE: ReadHeader = { state: "incomplete" };
const NONE: ReadHeader = { state: "none" };

const V1_START = Buffer.from("PROXY ", "latin1");
/** Of version 1, with its line end. */
const MAX_V1_BYTES = 107;
const V2_START = Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1");
const V2_HEAD_BYTES = 16;
/** Of a header with many TLVs, for example with a client's certificate. Proxies send far fewer. */
export const MAX_HEADER_BYTES = 4096;

/** `bytes`: all that has come of the connection so far. */
export function readProxyHeader(bytes: Buffer): ReadHeader {
  if (startsLike(bytes, V1_START))
    return bytes.length < V1_START.length ? INCOMPLETE : readV1(bytes);
  if (startsLike(bytes, V2_START)) return bytes.length < V2_HEAD_BYTES ? INCOMPLETE : readV2(bytes);
  return NONE;
}

/** As far as it has come. */
function startsLike(bytes: Buffer, start: Buffer): boolean {
  const common = Math.min(bytes.length, start.length);
  return bytes.compare(start, 0, common, 0, common) === 0;
}

function invalid(reason: string): ReadHeader {
  return { state: "invalid", reason };
}

// --- version 1 ---

function readV1(bytes: Buffer): ReadHeader {
  const end = bytes.subarray(0, MAX_V1_BYTES).indexOf("\r\n");
  if (end < 0) {
    return bytes.length < MAX_V1_BYTES
      ? INCOMPLETE
      : invalid(`its line has more than ${MAX_V1_BYTES} bytes`);
  }
  const header = { state: "read", length: end + 2, isSecure: false } as const;
  const [, family, ...rest] = bytes.toString("latin1", 0, end).split(" ");
  // What follows is to be ignored.
  if (family === "UNKNOWN") return { ...header, address: "" };
  if (family !== "TCP4" && family !== "TCP6") return invalid("its protocol family is unknown");
  const [source = "", destination = "", sourcePort = "", destinationPort = "", ...more] = rest;
  const address = addressOf(family, source);
  if (address === undefined || addressOf(family, destination) === undefined) {
    return invalid("its addresses are not of its protocol family");
  }
  if (!isPort(sourcePort) || !isPort(destinationPort) || more.length > 0) {
    return invalid("its ports are malformed");
  }
  return { ...header, address };
}

function addressOf(family: "TCP4" | "TCP6", text: string): string | undefined {
  // No zone id: it would mean something on the proxy's machine only.
  if (text.includes(":") !== (family === "TCP6") || text.includes("%")) return undefined;
  return canonicalAddress(text);
}

function isPort(text: string): boolean {
  return /^(?:0|[1-9]\d{0,4})$/.test(text) && Number(text) <= 65_535;
}

// --- version 2 ---

const LOCAL = 0;
const PROXY = 1;
/** Bytes of addresses and ports, by family: none, IPv4, IPv6, Unix sockets. */
const ADDRESS_BYTES = [0, 12, 36, 216] as const;
const IPV4 = 1;
const IPV6 = 2;
/** None, stream, datagram. */
const MAX_TRANSPORT = 2;

function readV2(bytes: Buffer): ReadHeader {
  const version = bytes.readUInt8(12) >> 4;
  const command = bytes.readUInt8(12) & 0x0f;
  const family = bytes.readUInt8(13) >> 4;
  const transport = bytes.readUInt8(13) & 0x0f;
  const length = V2_HEAD_BYTES + bytes.readUInt16BE(14);
  if (version !== 2) return invalid(`its version is ${version}`);
  if (command !== LOCAL && command !== PROXY) return invalid(`its command ${command} is unknown`);
  if (length > MAX_HEADER_BYTES) return invalid(`it has more than ${MAX_HEADER_BYTES} bytes`);
  const addressBytes = ADDRESS_BYTES[family];
  const isKnown = addressBytes !== undefined && transport <= MAX_TRANSPORT;
  // What a LOCAL header says of addresses is to be ignored, the family included.
  if (!isKnown && command !== LOCAL) return invalid("its protocol family is unknown");
  if (bytes.length < length) return INCOMPLETE;
  const local = { state: "read", length, address: undefined, isSecure: false } as const;
  if (command === LOCAL || addressBytes === undefined) return local;
  if (V2_HEAD_BYTES + addressBytes > length) return invalid("it is too short for its addresses");
  const found = readTlvs(bytes.subarray(0, length), V2_HEAD_BYTES + addressBytes);
  if (typeof found === "string") return invalid(found);
  return { ...local, address: sourceOf(bytes, family), isSecure: found.isSecure };
}

/** Empty for a family without IP addresses. */
function sourceOf(bytes: Buffer, family: number): string {
  if (family === IPV4) return [...bytes.subarray(V2_HEAD_BYTES, V2_HEAD_BYTES + 4)].join(".");
  if (family !== IPV6) return "";
  const groups = Array.from({ length: 8 }, (_, index) =>
    bytes.readUInt16BE(V2_HEAD_BYTES + 2 * index).toString(16),
  );
  return canonicalAddress(groups.join(":")) ?? "";
}

// --- type-length-value fields of version 2 ---

const CRC32C = 0x03;
const SSL = 0x20;
/** Of the first byte of an SSL field. */
const CLIENT_SSL = 0x01;

/** Or why the header is invalid. */
function readTlvs(header: Buffer, start: number): { readonly isSecure: boolean } | string {
  let isSecure = false;
  let at = start;
  while (at < header.length) {
    if (at + 3 > header.length) return "its fields are cut off";
    const type = header.readUInt8(at);
    const size = header.readUInt16BE(at + 1);
    at += 3;
    if (at + size > header.length) return "its fields are cut off";
    if (type === CRC32C) {
      if (size !== 4) return "its checksum is malformed";
      if (header.readUInt32BE(at) !== crc32cWithout(header, at)) return "its checksum is wrong";
    }
    if (type === SSL) {
      if (size < 5) return "its TLS field is malformed";
      isSecure = (header.readUInt8(at) & CLIENT_SSL) !== 0;
    }
    at += size;
  }
  return { isSecure };
}

const CRC32C_POLYNOMIAL = 0x82f63b78;
const CRC32C_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) {
    value = value & 1 ? (value >>> 1) ^ CRC32C_POLYNOMIAL : value >>> 1;
  }
  return value;
});

/** The checksum of `header`, whose own four bytes at `hole` count as zeros (Castagnoli, RFC 4960 appendix B). */
function crc32cWithout(header: Buffer, hole: number): number {
  let crc = 0xffffffff;
  for (const [at, byte] of header.entries()) {
    const counted = at >= hole && at < hole + 4 ? 0 : byte;
    crc = (CRC32C_TABLE[(crc ^ counted) & 0xff] ?? 0) ^ (crc >>> 8);
  }
  return (crc ^ 0xffffffff) >>> 0;
}
