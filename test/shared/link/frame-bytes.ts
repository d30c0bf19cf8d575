/** Frames of a link as bytes, made and read without the code under test. */
import { FRAME, MAX_PAYLOAD_BYTES } from "../../../shared/link/frames.ts";

export function frame(stream: number, type: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  return frameWith({ length: payload.length, word: stream * 8 + type, payload });
}

/** A frame whose header says anything. */
export function frameWith(parts: { length: number; word: number; payload?: Buffer }): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt32BE(parts.length, 0);
  header.writeUInt32BE(parts.word, 4);
  return Buffer.concat([header, parts.payload ?? Buffer.alloc(0)]);
}

export const data = (stream: number, bytes: Buffer | string): Buffer =>
  frame(stream, FRAME.data, Buffer.from(bytes));
export const open = (stream: number): Buffer => frame(stream, FRAME.open);
export const fin = (stream: number): Buffer => frame(stream, FRAME.fin);
export const reset = (stream: number, reason: number): Buffer =>
  frame(stream, FRAME.reset, Buffer.of(reason));
export const control = (kind: number): Buffer => frame(0, FRAME.control, Buffer.of(kind));

export function credit(stream: number, bytes: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(bytes);
  return frame(stream, FRAME.credit, payload);
}

/** An event as text, such as `data 1 68690a` or `fin 2`. */
export type FrameEvent = string;

export interface Reading {
  readonly events: readonly FrameEvent[];
  /** Frames that have begun. */
  readonly frames: number;
  /** Whether the bytes break the rules; the events are those before. */
  readonly isWrong: boolean;
}

/** What a reader finds in `bytes`; the parts of data that follow each other on a stream are one event. */
export function expectedReading(bytes: Buffer): Reading {
  const events: FrameEvent[] = [];
  let frames = 0;
  let at = 0;
  while (bytes.length - at >= 8) {
    const length = bytes.readUInt32BE(at);
    const word = bytes.readUInt32BE(at + 4);
    const type = word % 8;
    const stream = Math.floor(word / 8);
    if (!isValid(type, stream, length)) return { events, frames, isWrong: true };
    frames++;
    const payload = bytes.subarray(at + 8, at + 8 + length);
    at += 8 + length;
    if (type === FRAME.data) addData(events, stream, payload);
    else if (payload.length === length) events.push(nameOf(type, stream, payload));
  }
  return { events, frames, isWrong: false };
}

const NAMES = ["data", "open", "fin", "reset", "credit", "control"] as const;
const LENGTHS = [undefined, 0, 0, 1, 4, 1] as const;

function isValid(type: number, stream: number, length: number): boolean {
  if (type > 5) return false;
  if ((type === 5) !== (stream === 0)) return false;
  if (type === 0) return length >= 1 && length <= MAX_PAYLOAD_BYTES;
  return length === LENGTHS[type];
}

function nameOf(type: number, stream: number, payload: Buffer): FrameEvent {
  const value = payload.length === 0 ? "" : ` ${payload.readUIntBE(0, payload.length)}`;
  return `${NAMES[type]} ${stream}${value}`;
}

export function addData(events: FrameEvent[], stream: number, bytes: Buffer): void {
  if (bytes.length === 0) return;
  const last = events.at(-1);
  const start = `data ${stream} `;
  if (last?.startsWith(start)) events[events.length - 1] = last + bytes.toString("hex");
  else events.push(start + bytes.toString("hex"));
}

/** The kinds of the frames in `bytes`, with where each begins and how long it is. */
export function framesIn(
  bytes: Buffer,
): readonly { kind: (typeof NAMES)[number]; stream: number; at: number; length: number }[] {
  const found = [];
  for (let at = 0; bytes.length - at >= 8; ) {
    const length = 8 + bytes.readUInt32BE(at);
    const word = bytes.readUInt32BE(at + 4);
    const kind = NAMES[word % 8] ?? "control";
    found.push({ kind, stream: Math.floor(word / 8), at, length });
    at += length;
  }
  return found;
}
