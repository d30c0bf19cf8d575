/**
 * The text of a response's head, checked (RFC 9112 §4): status line, and where the body ends. Strict: see `head-lines.ts`.
 * Pure.
 */

import type { Framing } from "../../../balancer/http1/framing.ts";
import { DEFAULT_HTTP_LIMITS } from "../../../balancer/http1/limits.ts";
import { HttpSyntaxError } from "./fields.ts";
import type { ResponseHead } from "./head.ts";
import {
  type MessageFields,
  parseLines,
  parseVersion,
  readMessageFields,
  wantsKeepAlive,
} from "./head-lines.ts";

const STATUS_LINE = /^(HTTP\/1\.[01]) ([1-5]\d\d) ([\t\x20-\x7e\x80-\xff]*)$/;

/**
 * Parses the text of a response's head. `requestMethod` decides whether it has a body (RFC 9112 §6.3). Throws
 * `HttpSyntaxError`.
 */
export function parseResponseHead(text: string, requestMethod: string): ResponseHead {
  const { startLine, fields } = parseLines(text, "upstream", DEFAULT_HTTP_LIMITS.maxFields);
  const [, version, digits, reason] = STATUS_LINE.exec(startLine) ?? [];
  if (version === undefined || digits === undefined || reason === undefined) {
    throw new HttpSyntaxError("upstream", 400, "status line");
  }
  const status = Number(digits);
  const minor = parseVersion(version, "upstream");
  const message = readMessageFields(fields, minor, "upstream");
  const framing = responseFraming(status, requestMethod, message);
  return {
    status,
    reason,
    minor,
    fields,
    framing,
    length: message.length,
    connection: message.connection,
    keepAlive: framing.kind !== "until-close" && wantsKeepAlive(message.connection, minor),
  };
}

function responseFraming(status: number, method: string, message: MessageFields): Framing {
  const bodiless = status < 200 || status === 204 || status === 304 || method === "HEAD";
  if (bodiless) return { kind: "none" };
  if (message.chunked) return { kind: "chunked" };
  if (message.length !== undefined) return { kind: "length", length: message.length };
  return { kind: "until-close" };
}
