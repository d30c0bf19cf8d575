/**
 * How a worker talks to a balancer within a WebSocket that can be resumed on another worker: by frames of opcodes that RFC 6455
 * §5.2 reserves, between the frames for the client. The balancer takes them out. Both sides have agreed on that for this
 * WebSocket (`x-ct-resumable`), so no client sees one.
 *
 *     delivery, repeat   u32 stream · u32 message · u32 bytes   the next `bytes` bytes, whole frames, are one message for the
 *                                                               client: what came of `message` of the client's WebSocket
 *                                                               `stream`; stream 0: the worker's own
 *     confirm            u32 messages                           so many of this client's messages are relayed
 *     ticket             text: session, epoch, ticket           the WebSocket's session, and what it is resumed with
 *     move               nothing                                resume it now: this worker has given the session away
 *
 * Numbers are big-endian and wrap. `repeat` is a delivery that may have been made before: by a worker that died before it could
 * confirm the message.
 */
import { isSessionId, type SessionId } from "../base/ids.ts";
import { writeUint32 } from "../base/uint32.ts";

/** Both sides must have the same. */
export const RESUME_VERSION = 1;

export const RESUME_FRAME = {
  delivery: 0x83,
  repeat: 0x84,
  confirm: 0x85,
  ticket: 0x86,
  move: 0x87,
} as const;

/** Of `delivery` and `repeat`, payload included. */
export const DELIVERY_BYTES = 14;

/** The numbers of streams and messages have 31 and 32 bits; 0 is no stream. */
export const MAX_STREAM_NUMBER = 0x7fff_ffff;
/** A longer ticket is none. */
export const MAX_TICKET_BYTES = 2048;
/**
 * What a client has sent and its worker has not confirmed is kept up to this; so is a message for a client that has come in
 * part. What is longer cannot be resumed in the middle of it.
 */
export const MAX_KEPT_BYTES = 65_536;

export interface DeliveryMark {
  readonly stream: number;
  readonly message: number;
  readonly isReplayed: boolean;
}

/** Writes the frame that precedes `bytes` bytes for a client; returns where they go. */
export function writeDelivery(
  to: Buffer,
  at: number,
  mark: DeliveryMark | undefined,
  bytes: number,
): number {
  to[at] = mark?.isReplayed === true ? RESUME_FRAME.repeat : RESUME_FRAME.delivery;
  to[at + 1] = DELIVERY_BYTES - 2;
  writeUint32(to, at + 2, mark?.stream ?? 0);
  writeUint32(to, at + 6, mark?.message ?? 0);
  writeUint32(to, at + 10, bytes);
  return at + DELIVERY_BYTES;
}

export function confirmFrame(messages: number): Buffer {
  const frame = Buffer.allocUnsafe(6);
  frame[0] = RESUME_FRAME.confirm;
  frame[1] = 4;
  writeUint32(frame, 2, messages);
  return frame;
}

/** What a balancer must know of a WebSocket to have it resumed. */
export interface Resumable {
  readonly session: SessionId;
  readonly epoch: number;
  readonly ticket: string;
}

export function ticketFrame({ session, epoch, ticket }: Resumable): Buffer {
  const payload = Buffer.from(`${session} ${epoch} ${ticket}`, "latin1");
  const header = Buffer.from([RESUME_FRAME.ticket, 126, payload.length >> 8, payload.length & 255]);
  return Buffer.concat([header, payload]);
}

/** Reads the payload of that frame; undefined when it is malformed. */
export function readTicket(payload: Buffer): Resumable | undefined {
  const [session = "", epoch = "", ticket = ""] = payload.toString("latin1").split(" ");
  if (!isSessionId(session) || !/^\d{1,15}$/.test(epoch) || ticket === "") return undefined;
  return { session, epoch: Number(epoch), ticket };
}

export const MOVE_FRAME: Buffer = Buffer.from([RESUME_FRAME.move, 0]);

/** Whether the counter `a` has come as far as `b`, both of 32 bits and wrapping. */
export function isReached(a: number, b: number): boolean {
  return ((a - b) | 0) >= 0;
}
