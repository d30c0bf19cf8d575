/**
 * The logger: one line per event, with a constant message and fields, on standard output. Never log a whole session key, a
 * token, a cookie or a secret; as a safeguard, fields with such names are masked.
 */
import { pino } from "pino";
import { escapeChar } from "./escape.ts";

/** A process's logger: `log.warn({ workerId, err }, "lease lost")`. */
export type Log = Pick<pino.Logger, "debug" | "info" | "warn" | "error">;

/** Names of fields whose values are never printed, at the top level and two levels below. */
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

/** Longer fields are cut, so that one hostile value cannot fill a disk. */
const MAX_FIELD_CHARS = 1024;

/** Destination of log lines; each call passes one line with its line feed. */
export interface LineSink {
  write(line: string): void;
}

/**
 * A logger that writes to `sink`. `name` is the process that logs (`balancer`, `worker-1`; `root` is the edge itself).
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
      // Not pino's usual "name", which a field of that name would replace.
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

/** An error as a field. Only an error without a code is a bug of ours and needs its stack. */
function describeErrorField(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const described: Record<string, unknown> = { message: error.message };
  if ("code" in error) described["code"] = error.code;
  else described["stack"] = error.stack;
  if (error.cause instanceof Error) described["cause"] = error.cause.message;
  return described;
}

/** pino's JSON line with long fields cut. This happens after pino has masked secrets. */
function toJson(line: string): string {
  if (line.length <= MAX_FIELD_CHARS) return escapeControls(line);
  const fields = Object.entries(JSON.parse(line) as Record<string, unknown>).map(([key, value]) => {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    return [key, text.length > MAX_FIELD_CHARS ? cut(text) : value];
  });
  return escapeControls(`${JSON.stringify(Object.fromEntries(fields))}\n`);
}

/** Converts pino's JSON line to `time process LEVEL message field=value`. */
function toText(line: string): string {
  const { level, time, process, msg, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const fieldTexts = Object.entries(fields).map(([key, value]) => ` ${key}=${fieldText(value)}`);
  const message = typeof msg === "string" ? msg : "";
  const text = `${String(time)} ${String(process)} ${String(level).toUpperCase()} ${message}${fieldTexts.join("")}`;
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
 * Escapes characters that could forge a line or control a terminal: C0 and C1 except the final line feed, and Unicode's line
 * separators.
 */
function escapeControls(text: string): string {
  const end = text.endsWith("\n") ? "\n" : "";
  const body = end === "" ? text : text.slice(0, -1);
  return body.replace(/[\p{Cc}\u2028\u2029]/gu, escapeChar) + end;
}
