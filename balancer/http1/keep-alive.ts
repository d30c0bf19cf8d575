/**
 * What a server announces about its idle connections (`Keep-Alive: timeout=5, max=100`; RFC 2068 §19.7.1, since then in use
 * without a standard). Pure.
 */
import type { Field } from "./fields.ts";

export interface KeepAliveHint {
  /** The server closes the connection when it has been idle for so long; Infinity when it does not say. */
  readonly timeoutMs: number;
  /** How many more requests it takes on the connection; Infinity when it does not say. */
  readonly max: number;
}

export const NO_HINT: KeepAliveHint = {
  timeoutMs: Number.POSITIVE_INFINITY,
  max: Number.POSITIVE_INFINITY,
};

const PARAMETER = /(?:^|[,;\s])(timeout|max)\s*=\s*"?(\d{1,9})/gi;

/** The least that the Keep-Alive fields of a response promise. What cannot be read promises nothing and forbids nothing. */
export function readKeepAlive(fields: readonly Field[]): KeepAliveHint {
  let hint = NO_HINT;
  for (const field of fields) {
    if (field.lower !== "keep-alive") continue;
    hint = hint === NO_HINT ? readAgain(field.value) : atMost(hint, field.value);
  }
  return hint;
}

/** A server says the same with each response, so the text read last is nearly always the one to read. */
let last = { value: "", hint: NO_HINT };

function readAgain(value: string): KeepAliveHint {
  if (value !== last.value) last = { value, hint: atMost(NO_HINT, value) };
  return last.hint;
}

function atMost({ timeoutMs, max }: KeepAliveHint, value: string): KeepAliveHint {
  for (const [, name, digits] of value.matchAll(PARAMETER)) {
    if (name?.toLowerCase() === "max") max = Math.min(max, Number(digits));
    else timeoutMs = Math.min(timeoutMs, Number(digits) * 1000);
  }
  return { timeoutMs, max };
}

/** Time that an announced limit may differ from what is true by the time that a request arrives. */
const MARGIN_MS = 1000;

/**
 * How long a connection is kept for the next request. The server began to count before its response arrived here, and the
 * next request needs time to arrive there, so the margin is a second, or half of a shorter limit.
 */
export function usableIdleMs(timeoutMs: number): number {
  return timeoutMs - Math.min(MARGIN_MS, timeoutMs / 2);
}
