/** WebSocket frames (RFC 6455 §5.2) as a client and a worker write them. */
import { randomBytes } from "node:crypto";
import type { Random } from "../../model/random.ts";

interface FrameOptions {
  /** Default: true. */
  readonly isLast?: boolean;
  /** As clients must; default: false, as workers must. */
  readonly isMasked?: boolean;
  /** Bytes in which the length is written; default: as few as possible. */
  readonly lengthBytes?: 0 | 2 | 8;
  /** Default: random. */
  readonly mask?: Buffer;
}

export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** A mask is random, and the payload is what comes behind it: nobody here unmasks it. */
export function frame(opcode: number, payload: Buffer, options: FrameOptions = {}): Buffer {
  const { isLast = true, isMasked = false } = options;
  return Buffer.concat([
    Buffer.from([(isLast ? 0x80 : 0) | opcode]),
    lengthField(payload.length, isMasked, options.lengthBytes ?? shortest(payload.length)),
    isMasked ? (options.mask ?? randomBytes(4)) : Buffer.alloc(0),
    payload,
  ]);
}

/** As a client sends it. */
export function fromClient(opcode: number, bytes: number, options: FrameOptions = {}): Buffer {
  return frame(opcode, Buffer.alloc(bytes, "c"), { ...options, isMasked: true });
}

function shortest(length: number): 0 | 2 | 8 {
  if (length < 126) return 0;
  return length < 65_536 ? 2 : 8;
}

function lengthField(length: number, isMasked: boolean, bytes: 0 | 2 | 8): Buffer {
  const mask = isMasked ? 0x80 : 0;
  if (bytes === 0) return Buffer.from([mask | length]);
  const field = Buffer.alloc(bytes + 1);
  field[0] = mask | (bytes === 2 ? 126 : 127);
  if (bytes === 2) field.writeUInt16BE(length, 1);
  else field.writeBigUInt64BE(BigInt(length), 1);
  return field;
}

/** As a client sends it, masked with zeros, so that equal frames have equal bytes. */
export function clientFrame(opcode: number, payload: Buffer, isLast = true): Buffer {
  return frame(opcode, payload, { isLast, isMasked: true, mask: Buffer.alloc(4) });
}

export function workerFrame(opcode: number, payload: Buffer): Buffer {
  return frame(opcode, payload);
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
