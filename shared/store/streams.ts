/**
 * The streams of texts in the store: their names, and how much each keeps.
 */
import { parseEvent } from "./schemas.ts";

/** Characters of one text of a stream. Log lines are cut to this length; samples of the history are far shorter. */
export const MAX_STREAM_TEXT_CHARS = 4096;
/** Events that the history keeps. */
export const MAX_EVENTS = 10_000;
/**
 * Streams, and how many texts each keeps. `lasting`: survives a restart of the embedded store. Logs: the newest lines of
 * all processes. History: an hour, a day, 30 days at falling resolution. Usage: one text a day, and the newest of today. Ended
 * sign-ins: for the workers that still have their people. Webhooks: the newest events, with names of people, and up to where each
 * receiver has them.
 * Checkpoints of the audit log: the newest of each chain (worker/audit/checkpoints.ts). ACME: the account and certificate, in parts
 * (register.ts). Events: the history of ownership (shared/cluster/history.ts); they have the time at which they were appended.
 */
export const STREAMS = {
  events: { keep: MAX_EVENTS, lasting: true },
  "log-server": { keep: 5000, lasting: false },
  "log-access": { keep: 5000, lasting: false },
  "log-error": { keep: 2000, lasting: false },
  "history-hour": { keep: 360, lasting: true },
  "history-day": { keep: 720, lasting: true },
  "history-month": { keep: 720, lasting: true },
  "usage-days": { keep: 400, lasting: true },
  "usage-today": { keep: 8, lasting: true },
  "ended-sign-ins": { keep: 1000, lasting: true },
  "ended-sign-ins-recorded": { keep: 1, lasting: true },
  webhooks: { keep: 20_000, lasting: true },
  "webhook-positions": { keep: 100, lasting: true },
  "audit-checkpoints": { keep: 4000, lasting: true },
  acme: { keep: 64, lasting: true },
} as const;
export type StreamName = keyof typeof STREAMS;
export const STREAM_NAMES = Object.keys(STREAMS) as [StreamName, ...StreamName[]];

/** An id before that of every entry, for `after`: reads from the oldest on. */
export const STREAM_START = "0-0";

export interface StreamEntry {
  readonly id: string;
  readonly text: string;
  /** Store time in ms, only of `events`. */
  readonly atMs?: number;
}

/** Whether `text` may be in a stream: what else is in `events` would be skipped by all readers. */
export function isStreamText(stream: StreamName, text: string): boolean {
  if (stream === "events") return parseEvent(text) !== undefined;
  return text.length <= MAX_STREAM_TEXT_CHARS;
}
