/**
 * Streams whose every byte says where it belongs, so that a byte of another stream, a lost one or a doubled one is found,
 * and named, wherever it appears. A stream is a sequence of 16-byte records: its number, the record's index, and a
 * checksum of both. All byte values occur.
 */
import { createHash } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Random } from "../fuzz/random.ts";

const RECORD_BYTES = 16;

/** The bytes of stream `id` from `offset` on. */
export function stampedBytes(id: number, offset: number, length: number): Buffer {
  const first = Math.floor(offset / RECORD_BYTES);
  const last = Math.ceil((offset + length) / RECORD_BYTES);
  const words = new Uint32Array(((last - first) * RECORD_BYTES) / 4);
  for (let index = first, at = 0; index < last; index++, at += 4) {
    const sum = checksum(id, index);
    words[at] = id;
    words[at + 1] = index;
    words[at + 2] = sum;
    words[at + 3] = Math.imul(sum, 0x85ebca6b);
  }
  return Buffer.from(words.buffer, offset - first * RECORD_BYTES, length);
}

function checksum(id: number, index: number): number {
  const mixed = Math.imul(id + 1, 0x9e3779b1) ^ Math.imul(index + 1, 0xc2b2ae35);
  return Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d) >>> 0;
}

/** Compares what arrives with what stream `id` contains. */
export class StampChecker {
  readonly id: number;
  /** Bytes so far. */
  received = 0;
  /** The first wrong byte, and which stream it is from. */
  fault: string | undefined;
  readonly #hash = createHash("sha256");

  constructor(id: number) {
    this.id = id;
  }

  /** False for the first wrong bytes; `fault` names them then. */
  take(bytes: Uint8Array): boolean {
    const expected = stampedBytes(this.id, this.received, bytes.length);
    const isWrong = this.fault === undefined && !expected.equals(bytes);
    if (isWrong) {
      const at = expected.findIndex((byte, index) => byte !== bytes[index]);
      this.fault = `stream ${this.id} has ${originOf(bytes, at)} at ${this.received + at}`;
    }
    this.received += bytes.length;
    this.#hash.update(bytes);
    return !isWrong;
  }

  /** SHA-256 of all that arrived, which does not depend on the comparison above; can be called once. */
  digest(): string {
    return this.#hash.digest("hex");
  }
}

/** Names the first record of any stream in `bytes` from `at` on. */
function originOf(bytes: Uint8Array, at: number): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let start = at; start + RECORD_BYTES <= Math.min(bytes.length, at + 64); start++) {
    const id = buffer.readUInt32LE(start);
    const index = buffer.readUInt32LE(start + 4);
    if (buffer.readUInt32LE(start + 8) !== checksum(id, index)) continue;
    return `byte ${index * RECORD_BYTES} of stream ${id} (${start - at} behind)`;
  }
  return `foreign bytes ${buffer.subarray(at, at + RECORD_BYTES).toString("hex")}`;
}

// --- sending ---

/** Sizes of a single write: single bytes, and those just around the sizes of buffers. */
const WRITE_SIZES = [
  1, 7, 100, 1460, 4096, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537, 131_071, 131_072, 131_073,
  1_048_576,
] as const;

/** Single bytes in a row. */
const MAX_SINGLE_BYTES = 40;

/** What a stream needs to be written to; sockets and HTTP messages are such. */
export interface Sink {
  write(bytes: Uint8Array): boolean;
  once(event: "drain" | "close", listener: () => void): unknown;
  off(event: "drain" | "close", listener: () => void): unknown;
  readonly destroyed: boolean;
  readonly writableNeedDrain: boolean;
}

/** A sender's state, for readers that stop until it has stalled. */
export interface Sending {
  sent: number;
  isOver: boolean;
  /** Since when it waits for its receiver; undefined while it does not. */
  waitingSinceMs: number | undefined;
}

export function newSending(): Sending {
  return { sent: 0, isOver: false, waitingSinceMs: undefined };
}

/** Writes the first `bytes` of stream `id` in pieces of random sizes, as fast as `sink` takes them or until it closes. */
export async function sendStamps(
  sink: Sink,
  stream: { readonly id: number; readonly bytes: number },
  random: Random,
  sending: Sending = newSending(),
): Promise<void> {
  const { id, bytes } = stream;
  while (sending.sent < bytes && !sink.destroyed) {
    const size = random.pick(WRITE_SIZES);
    const count = size === 1 ? 1 + random.below(MAX_SINGLE_BYTES) : 1;
    for (let i = 0; i < count && sending.sent < bytes; i++) {
      const length = Math.min(size, bytes - sending.sent);
      sink.write(stampedBytes(id, sending.sent, length));
      sending.sent += length;
      if (random.chance(0.05)) await nextTurn();
    }
    if (sink.writableNeedDrain) await drained(sink, sending);
    else if (random.chance(0.3)) await nextTurn();
  }
  sending.isOver = true;
}

async function drained(sink: Sink, sending: Sending): Promise<void> {
  if (sink.destroyed) return;
  sending.waitingSinceMs = performance.now();
  await new Promise<void>((resolve) => {
    const done = (): void => {
      sink.off("drain", done);
      sink.off("close", done);
      resolve();
    };
    sink.once("drain", done);
    sink.once("close", done);
  });
  sending.waitingSinceMs = undefined;
}
