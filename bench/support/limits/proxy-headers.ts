/** Headers of the PROXY protocol for clients with IPv4 addresses. */

const SIGNATURE = Buffer.from("0d0a0d0a000d0a515549540a21110000", "hex");

export function headerV1(address: string): Buffer {
  return Buffer.from(`PROXY TCP4 ${address} 127.0.0.1 50000 1080\r\n`, "latin1");
}

export function headerV2(address: string): Buffer {
  const body = Buffer.from([...address.split(".").map(Number), 127, 0, 0, 1, 0xc3, 0x50, 4, 0x38]);
  const head = Buffer.from(SIGNATURE);
  head.writeUInt16BE(body.length, head.length - 2);
  return Buffer.concat([head, body]);
}

/** Of the header with which `bytes` begin. */
export function headerLength(bytes: Buffer): number {
  if (bytes[0] === SIGNATURE[0]) return SIGNATURE.length + bytes.readUInt16BE(14);
  return bytes.indexOf("\r\n") + 2;
}
