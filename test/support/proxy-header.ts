/** Writes headers of the PROXY protocol, version 2, right and wrong ones. */

const SIGNATURE = Buffer.from("0d0a0d0a000d0a515549540a", "hex");

/** `family`: of address and transport, like 0x11 for TCP over IPv4. `body`: addresses and fields. */
export function proxyV2(header: {
  readonly version?: number;
  readonly command?: number;
  readonly family: number;
  readonly body: Buffer;
}): Buffer {
  const { version = 2, command = 1, family, body } = header;
  const head = Buffer.from([(version << 4) | command, family, 0, 0]);
  head.writeUInt16BE(body.length, 2);
  return Buffer.concat([SIGNATURE, head, body]);
}

export function tlv(type: number, value: string | Buffer): Buffer {
  const bytes = Buffer.from(value);
  const head = Buffer.from([type, 0, 0]);
  head.writeUInt16BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

/** Bit by bit, to compare with a table. */
export function crc32c(bytes: Buffer): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}
