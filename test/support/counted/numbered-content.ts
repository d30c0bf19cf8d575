/**
 * The contents of counted messages: sender, running number, and bytes that follow from the number, so that a receiver detects
 * each wrong byte. To the server they are like encrypted ones.
 */

const HEAD_BYTES = 8;
const SMALL_BYTES = 96;
/** More than one WebSocket frame of a socket's buffer holds, so that a move can find a message that has arrived in part. */
const LARGE_BYTES = 40_000;
/** Prime, so that each person sends large ones. */
const LARGE_EVERY = 23;

export interface Numbered {
  /** Index of the person. */
  readonly sender: number;
  readonly number: number;
  readonly isIntact: boolean;
}

export function numberedContent(sender: number, number: number): Uint8Array {
  const content = new Uint8Array(lengthOf(number));
  const head = new DataView(content.buffer);
  head.setUint32(0, sender);
  head.setUint32(4, number);
  for (let at = HEAD_BYTES; at < content.length; at++) content[at] = (number + at) & 0xff;
  return content;
}

export function readNumbered(content: Uint8Array): Numbered {
  const head = new DataView(content.buffer, content.byteOffset, content.byteLength);
  const sender = head.getUint32(0);
  const number = head.getUint32(4);
  let isIntact = content.length === lengthOf(number);
  for (let at = HEAD_BYTES; at < content.length && isIntact; at++) {
    isIntact = content[at] === ((number + at) & 0xff);
  }
  return { sender, number, isIntact };
}

function lengthOf(number: number): number {
  return number % LARGE_EVERY === LARGE_EVERY - 1 ? LARGE_BYTES : SMALL_BYTES;
}
