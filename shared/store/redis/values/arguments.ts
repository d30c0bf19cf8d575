/**
 * Arguments of scripts: text within limits.
 */
import { EdgeError } from "../../../base/errors.ts";

/** The latest time that a Date can hold; later times become this one. */
const END_OF_TIME_MS = 8_640_000_000_000_000;

/** Throws `StoreValueError` for a text that readers would reject; `what` names it without showing it. */
export function limited(what: string, text: string, maxBytes: number): string {
  if (Buffer.byteLength(text) > maxBytes) throw new StoreValueError(what, maxBytes);
  return text;
}

/** `undefined` becomes null. */
export function toJson(value: unknown): string {
  return JSON.stringify(value ?? null);
}

/** A time or a duration as a whole number. */
export function toMs(ms: number): string {
  return String(Math.min(END_OF_TIME_MS, Math.max(0, Math.ceil(ms))));
}

/** A value exceeds the limit that readers apply. Nothing was changed. */
class StoreValueError extends EdgeError {
  readonly code = "EDGE_STORE_VALUE";
  constructor(what: string, maxBytes: number) {
    super(`${what} is larger than ${maxBytes} bytes and was not stored`);
  }
}
