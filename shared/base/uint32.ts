/** Big-endian numbers of 32 bits, byte by byte: `Buffer.writeUInt32BE` checks its arguments, at twice the cost. */

export function readUint32(bytes: Buffer, at: number): number {
  return (
    (((bytes[at] ?? 0) << 24) |
      ((bytes[at + 1] ?? 0) << 16) |
      ((bytes[at + 2] ?? 0) << 8) |
      (bytes[at + 3] ?? 0)) >>>
    0
  );
}

export function writeUint32(to: Buffer, at: number, value: number): void {
  to[at] = value >>> 24;
  to[at + 1] = (value >>> 16) & 0xff;
  to[at + 2] = (value >>> 8) & 0xff;
  to[at + 3] = value & 0xff;
}
