/**
 * The streams of texts in the store: their names, and how much each keeps.
 */

/** Characters of one text of a stream. Log lines are cut to this length; samples of the history are far shorter. */
export const MAX_STREAM_TEXT_CHARS = 4096;
/**
 * Streams, and how many texts each keeps. `lasting`: survives a restart of the embedded store. Logs: the newest lines of
 * all processes. History: an hour, a day, 30 days at falling resolution. Usage: one text a day, and the newest of today. Ended
 * sign-ins: for the workers that still have their people. Webhooks: the newest events, with names of people, and up to where each
 * receiver has them.
 * Checkpoints of the audit log: the newest of each chain (worker/audit/checkpoints.ts). ACME: the account and certificate, in parts
 * (register.ts).
 */
export const STREAMS = {
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
}
