/**
 * The logger: one line per event, a constant sentence and fields, on standard output. Never give it a whole session key,
 * a token, a cookie or a secret; fields with such names are masked all the same.
 */
import { pino } from "pino";

/** A process's logger: `log.warn({ workerId, err }, "lease lost")`. */
export type Log = Pick<pino.Logger, "debug" | "info" | "warn" | "error">;

/** Names of fields that are never printed, wherever they stand. */
const MASKED = [
  "authorization",
  "cookie",
  "set-cookie",
  "ctstickiness",
  "x-oct-jwt",
  "x-ct-edge",
  "secret",
  "token",
  "roomToken",
  "loginToken",
  "pollToken",
  "apiKey",
  "password",
];

/** Characters after which a field is cut, so that one hostile value cannot fill a disk. */
const MAX_FIELD_CHARS = 1024;

/** Where lines go: one call for each, with the line feed. */
export interface LineSink {
  write(line: string): void;
}

/**
 * A logger that writes to `sink`. `name` is the part of the edge that speaks (`balancer`, `worker-1`; `root` is the edge
 * itself).
 */
export function createLog(options: {
  name: string;
  level: "debug" | "info" | "warn" | "error";
  format: "text" | "json";
  sink: LineSink;
}): Log {
  return pino(
    {
      level: options.level,
      // Not "name", as pino's own is called: a field of that name would take its place.
      base: { process: options.name },
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: {
        paths: MASKED.flatMap((field) => [`["${field}"]`, `*["${field}"]`, `*.*["${field}"]`]),
        censor: "(masked)",
      },
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: describeErrorField },
    },
    options.format === "json"
      ? { write: (line: string) => options.sink.write(toJson(line)) }
      : { write: (line: string) => options.sink.write(toText(line)) },
  );
}

/** An error as a field: what and why, without a stack unless it is a bug of ours (no code). */
function describeErrorField(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const described: Record<string, unknown> = { message: error.message };
  if ("code" in error) described["code"] = error.code;
  else described["stack"] = error.stack;
  if (error.cause instanceof Error) described["cause"] = error.cause.message;
  return described;
}

/** pino's JSON line with long fields cut; they are cut here, after pino has masked what must not be seen. */
function toJson(line: string): string {
  if (line.length <= MAX_FIELD_CHARS) return escapeControls(line);
  const fields = Object.entries(JSON.parse(line) as Record<string, unknown>).map(([key, value]) => {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    return [key, text.length > MAX_FIELD_CHARS ? cut(text) : value];
  });
  return escapeControls(`${JSON.stringify(Object.fromEntries(fields))}\n`);
}

/** pino's JSON line as `time process LEVEL sentence field=value`. */
function toText(line: string): string {
  const { level, time, process, msg, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const shown = Object.entries(fields).map(([key, value]) => ` ${key}=${fieldText(value)}`);
  const sentence = typeof msg === "string" ? msg : "";
  const text = `${String(time)} ${String(process)} ${String(level).toUpperCase()} ${sentence}${shown.join("")}`;
  return `${escapeControls(text)}\n`;
}

function fieldText(value: unknown): string {
  const text =
    typeof value === "string" && /^[\w.:/@+-]+$/.test(value) ? value : JSON.stringify(value);
  return text.length > MAX_FIELD_CHARS ? cut(text) : text;
}

function cut(text: string): string {
  return `${text.slice(0, MAX_FIELD_CHARS)}…`;
}

/**
 * Escapes what could forge a line or drive a terminal: C0 and C1 controls but the line feed that ends a JSON line, and
 * the line separators of Unicode.
 */
function escapeControls(text: string): string {
  const end = text.endsWith("\n") ? "\n" : "";
  const body = end === "" ? text : text.slice(0, -1);
  return body.replace(/[\p{Cc}\u2028\u2029]/gu, escapeChar) + end;
}

function escapeChar(char: string): string {
  return `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
