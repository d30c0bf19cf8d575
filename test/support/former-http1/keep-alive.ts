/**
 * A server's limits on its idle connections (`Keep-Alive: timeout=5, max=100`; RFC 2068 §19.7.1, used without a standard
 * since). Pure.
 */
import type { Field } from "./fields.ts";

interface KeepAliveHint {
  /** The idle time after which the server closes the connection; Infinity when it sends none. */
  readonly timeoutMs: number;
  /** How many more requests it accepts on the connection; Infinity when it sends none. */
  readonly max: number;
}

const NO_HINT: KeepAliveHint = {
  timeoutMs: Number.POSITIVE_INFINITY,
  max: Number.POSITIVE_INFINITY,
};

const PARAMETER = /(?:^|[,;\s])(timeout|max)\s*=\s*"?(\d{1,9})/gi;

/** The smallest limits in the Keep-Alive fields of a response. Malformed parameters are ignored. */
export function readKeepAlive(fields: readonly Field[]): KeepAliveHint {
  let hint = NO_HINT;
  for (const field of fields) {
    if (field.lower !== "keep-alive") continue;
    hint = hint === NO_HINT ? readCached(field.value) : atMost(hint, field.value);
  }
  return hint;
}

/** A server sends the same value with each response, so a cache of one entry nearly always hits. */
let last = { value: "", hint: NO_HINT };

function readCached(value: string): KeepAliveHint {
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
