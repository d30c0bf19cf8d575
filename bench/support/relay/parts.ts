/** What relay.ts's load process and the program that starts it say to each other, and what the process's threads share. */

/** People who are in sessions, behind the proxies at `ports`: each session is behind one of them, in turn. */
export interface OpenSessions {
  readonly ports: readonly number[];
  readonly sessions: number;
  /** Of each session, its host included. */
  readonly people: number;
  /** What they send: edits to all others of the session, or notifications to one other person of it. */
  readonly frames: "broadcast" | "notification";
  /** Public key of all of them, as clients send it. */
  readonly publicKey: string;
}

export interface OpenLoop {
  /** Messages received per second by all people together. */
  readonly deliveredPerSecond: number;
  readonly seconds: number;
}

export type LoadRequest =
  | ({ readonly kind: "openSessions" } & OpenSessions)
  | { readonly kind: "openIdle"; readonly port: number; readonly count: number }
  | ({ readonly kind: "prepare" } & OpenLoop)
  | { readonly kind: "run" }
  | { readonly kind: "echo"; readonly seconds: number };

export interface LoadReply {
  readonly value?: unknown;
  readonly error?: string;
}

export interface LoadOutcome {
  readonly delivered: number;
  /** Those of them that arrived before the load's end. */
  readonly inTime: number;
  readonly expected: number;
  /** Duration of the load, without the wait for the last messages. */
  readonly seconds: number;
  readonly p50Us: number;
  readonly p99Us: number;
}

/** What the thread that sends needs. */
export interface SendPlan {
  readonly fds: readonly number[];
  /** By person: what it sends. */
  readonly frames: readonly Uint8Array[];
  /** By person: where the mark is in the frame. */
  readonly markAt: readonly number[];
  /** Distinguishes the messages of this load from late ones of the load before. */
  readonly run: number;
  readonly perSecond: number;
  readonly seconds: number;
  /** One element: 1 when the thread may start. */
  readonly start: Int32Array;
  /** By person: 1 when the server has asked whether it is alive. While the thread runs nobody else may write. */
  readonly pings: Int32Array;
}

export interface SendOutcome {
  readonly startMs: number;
  readonly sent: number;
}

/** engine.io's response to a ping, as a masked text frame. */
export const PONG: Buffer = Buffer.from([0x81, 0x81, 0, 0, 0, 0, 0x33]);

/**
 * At the end of each content: these three bytes, which no text contains, the load's number in one, and the message's number in
 * four.
 */
export const MARK = 0xfe_fd_fc;
/** The first of them. */
export const MARK_BEGIN = 0xfe;
export const MARK_BYTES = 8;

export function writeMark(to: Uint8Array, at: number, run: number, message: number): void {
  to[at] = MARK >>> 16;
  to[at + 1] = (MARK >>> 8) & 0xff;
  to[at + 2] = MARK & 0xff;
  to[at + 3] = run & 0xff;
  to[at + 4] = message >>> 24;
  to[at + 5] = (message >>> 16) & 0xff;
  to[at + 6] = (message >>> 8) & 0xff;
  to[at + 7] = message & 0xff;
}
