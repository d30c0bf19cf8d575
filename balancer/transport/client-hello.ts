/**
 * The first message of a TLS client (RFC 8446 §4.1.2), read as far as needed to see who it is for. Pure; any bytes are allowed.
 */

/** `incomplete`: more bytes are needed. `other`: no hello in one record, which every client of ours sends. */
export type ClientHello =
  | { readonly state: "incomplete" }
  | { readonly state: "other" }
  | { readonly state: "hello"; readonly protocols: readonly string[] };

const INCOMPLETE: ClientHello = { state: "incomplete" };
const OTHER: ClientHello = { state: "other" };

const RECORD_HEAD = 5;
const HANDSHAKE_RECORD = 0x16;
/** RFC 8446 §5.1. */
const MAX_RECORD_BYTES = 16_384;
const CLIENT_HELLO = 1;
/** Version and random, behind the head of the message. */
const BEFORE_SESSION_ID = 4 + 2 + 32;
const ALPN = 16;

export function readClientHello(bytes: Buffer): ClientHello {
  if (bytes.length > 0 && bytes[0] !== HANDSHAKE_RECORD) return OTHER;
  if (bytes.length < RECORD_HEAD) return INCOMPLETE;
  const length = bytes.readUInt16BE(3);
  if (length > MAX_RECORD_BYTES) return OTHER;
  if (bytes.length < RECORD_HEAD + length) return INCOMPLETE;
  const message = bytes.subarray(RECORD_HEAD, RECORD_HEAD + length);
  try {
    return readMessage(message);
  } catch (error) {
    // A length that leads beyond the end.
    if (error instanceof RangeError) return OTHER;
    throw error;
  }
}

/** Throws `RangeError` where a length leads beyond the end. */
function readMessage(message: Buffer): ClientHello {
  if (message.readUInt8(0) !== CLIENT_HELLO) return OTHER;
  let at = BEFORE_SESSION_ID;
  at += 1 + message.readUInt8(at);
  at += 2 + message.readUInt16BE(at);
  at += 1 + message.readUInt8(at);
  // Without extensions.
  if (at === message.length) return { state: "hello", protocols: [] };
  const end = at + 2 + message.readUInt16BE(at);
  at += 2;
  while (at < end) {
    const type = message.readUInt16BE(at);
    const length = message.readUInt16BE(at + 2);
    if (type === ALPN) return { state: "hello", protocols: readProtocols(message, at + 4, length) };
    at += 4 + length;
  }
  return { state: "hello", protocols: [] };
}

/** RFC 7301 §3.1. */
function readProtocols(message: Buffer, from: number, length: number): string[] {
  const protocols: string[] = [];
  const end = from + length;
  let at = from + 2;
  while (at < end) {
    const size = message.readUInt8(at);
    protocols.push(message.toString("latin1", at + 1, at + 1 + size));
    at += 1 + size;
  }
  return protocols;
}
