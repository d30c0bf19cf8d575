/**
 * Values on their way into the store, as scripts take them: text, within its limits.
 */
import { StoreValueError } from "./errors.ts";

/** The latest time that can be written as a date: what is kept until later is kept until then. */
const END_OF_TIME_MS = 8_640_000_000_000_000;

/** `text`, if a reader would take it. Throws `StoreValueError`; `what` names it without showing it. */
export function limited(what: string, text: string, maxBytes: number): string {
  if (Buffer.byteLength(text) > maxBytes) throw new StoreValueError(what, maxBytes);
  return text;
}

/** Any JSON value as text; `undefined` is none and becomes null. */
export function toJson(value: unknown): string {
  return JSON.stringify(value ?? null);
}

/** A time or a duration as a whole number. */
export function toMs(ms: number): string {
  return String(Math.min(END_OF_TIME_MS, Math.max(0, Math.ceil(ms))));
}
