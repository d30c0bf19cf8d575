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
      name: options.name,
      level: options.level,
      base: { name: options.name },
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: {
        paths: MASKED.flatMap((field) => [`["${field}"]`, `*["${field}"]`, `*.*["${field}"]`]),
        censor: "(masked)",
      },
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: describeErrorField },
    },
    options.format === "json"
      ? { write: (line: string) => options.sink.write(escapeControls(line)) }
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

/** pino's JSON line as `time name LEVEL sentence field=value`. */
function toText(line: string): string {
  const { level, time, name, msg, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const shown = Object.entries(fields).map(([key, value]) => ` ${key}=${fieldText(value)}`);
  const text = `${String(time)} ${String(name)} ${String(level).toUpperCase()} ${typeof msg === "string" ? msg : ""}${shown.join("")}`;
  return `${escapeControls(text)}\n`;
}

function fieldText(value: unknown): string {
  const text =
    typeof value === "string" && /^[\w.:/@+-]+$/.test(value) ? value : JSON.stringify(value);
  return text.length > MAX_FIELD_CHARS ? `${text.slice(0, MAX_FIELD_CHARS)}…` : text;
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
