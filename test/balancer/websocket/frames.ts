/** WebSocket frames of clients and workers, as they are on the wire. */
import type { Random } from "../../model/random.ts";

/** A frame of a client, masked with zeros, so that its payload can be read. */
export function clientFrame(opcode: number, payload: Buffer, isLast = true): Buffer {
  const first = (isLast ? 0x80 : 0) | opcode;
  return Buffer.concat([header(first, payload.length, 0x80), Buffer.alloc(4), payload]);
}

export function workerFrame(opcode: number, payload: Buffer): Buffer {
  return Buffer.concat([header(0x80 | opcode, payload.length, 0), payload]);
}

function header(first: number, length: number, mask: number): Buffer {
  if (length < 126) return Buffer.from([first, mask | length]);
  if (length < 65_536) return Buffer.from([first, mask | 126, length >> 8, length & 0xff]);
  const bytes = Buffer.alloc(10);
  bytes[0] = first;
  bytes[1] = mask | 127;
  bytes.writeBigUInt64BE(BigInt(length), 2);
  return bytes;
}

/** The same bytes in random pieces. */
export function pieces(bytes: Buffer, random: Random): Buffer[] {
  const cut: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const size = random.oneIn(3) ? random.int(1, 6) : random.int(1, bytes.length);
    cut.push(bytes.subarray(at, at + size));
    at += size;
  }
  return cut;
}
