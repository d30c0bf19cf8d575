/**
 * What the heads of requests and of responses have in common: their lines, the version, and the fields that say where the
 * message and the connection end. Strict: what two parsers could read differently is refused, because that difference
 * is how requests are smuggled. Pure.
 */
import { type Field, HttpSyntaxError, parseFieldLine, type Sender } from "./fields.ts";

export function parseLines(
  text: string,
  sender: Sender,
  maxFields: number,
): { startLine: string; fields: readonly Field[] } {
  const fields: Field[] = [];
  let end = text.indexOf("\r\n");
  if (end < 0) return { startLine: text, fields };
  const startLine = text.slice(0, end);
  while (end < text.length) {
    const start = end + 2;
    end = text.indexOf("\r\n", start);
    if (end < 0) end = text.length;
    if (fields.length === maxFields) throw new HttpSyntaxError(sender, 431, "too many fields");
    fields.push(parseFieldLine(text.slice(start, end), sender));
  }
  return { startLine, fields };
}

export function parseVersion(version: string, sender: Sender): 0 | 1 {
  if (version === "HTTP/1.1") return 1;
  if (version === "HTTP/1.0") return 0;
  throw new HttpSyntaxError(sender, 400, "version");
}

/** The fields that say where the message and the connection end. */
export interface MessageFields {
  readonly chunked: boolean;
  readonly length: number | undefined;
  readonly connection: readonly string[];
}

/** Decimal digits, few enough to be exact as a number. */
const CONTENT_LENGTH = /^\d{1,15}$/;

export function readMessageFields(
  fields: readonly Field[],
  minor: 0 | 1,
  sender: Sender,
): MessageFields {
  let chunked = false;
  let length: number | undefined;
  let connection: string[] | undefined;
  for (const field of fields) {
    switch (field.lower) {
      case "transfer-encoding":
        // Exactly one coding, once, and never in HTTP/1.0 (RFC 9112 §6.1): anything else allows smuggling.
        if (chunked || minor === 0 || field.value.toLowerCase() !== "chunked") {
          throw new HttpSyntaxError(sender, 400, "Transfer-Encoding");
        }
        chunked = true;
        break;
      case "content-length":
        if (length !== undefined || !CONTENT_LENGTH.test(field.value)) {
          throw new HttpSyntaxError(sender, 400, "Content-Length");
        }
        length = Number(field.value);
        break;
      case "connection":
        connection ??= [];
        for (const option of field.value.split(",")) connection.push(option.trim().toLowerCase());
        break;
    }
  }
  if (chunked && length !== undefined) {
    throw new HttpSyntaxError(sender, 400, "Content-Length with Transfer-Encoding");
  }
  return { chunked, length, connection: connection ?? NO_OPTIONS };
}

const NO_OPTIONS: readonly string[] = [];

export function wantsKeepAlive(connection: readonly string[], minor: 0 | 1): boolean {
  if (connection.includes("close")) return false;
  return minor === 1 || connection.includes("keep-alive");
}
