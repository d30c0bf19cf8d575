/** Headers of WebSocket frames (RFC 6455 §5.2): of clients, which are masked, and of workers, which are not. Pure. */

export const MAX_HEADER_BYTES = 14;

/** Whether the header that begins at `at` is whole. */
export function hasHeader(bytes: Buffer, at: number): boolean {
  const available = bytes.length - at;
  return available >= 2 && available >= headerLength(bytes, at);
}

/** Of a header of which at least two bytes are there. */
export function headerLength(bytes: Buffer, at: number): number {
  const second = bytes[at + 1] ?? 0;
  const short = second & 0x7f;
  return 2 + (short === 126 ? 2 : short === 127 ? 8 : 0) + ((second & 0x80) !== 0 ? 4 : 0);
}

/** Of a whole header. */
export function payloadLength(bytes: Buffer, at: number): number {
  const short = (bytes[at + 1] ?? 0) & 0x7f;
  if (short === 126) return bytes.readUInt16BE(at + 2);
  return short === 127 ? Number(bytes.readBigUInt64BE(at + 2)) : short;
}
