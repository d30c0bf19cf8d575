/**
 * The text of a request's head, checked (RFC 9112 §3): request line, target, Host, framing. Strict: see `head-lines.ts`.
 * Pure.
 */

import {
  DEFAULT_HTTP_LIMITS,
  type HttpLimits,
  MAX_METHOD_BYTES,
} from "../../../balancer/http1/limits.ts";
import { type Field, HttpSyntaxError, isToken } from "./fields.ts";
import type { RequestHead } from "./head.ts";
import { parseLines, parseVersion, readMessageFields, wantsKeepAlive } from "./head-lines.ts";

/**
 * Parses the text of a request's head (from `HeadCollector.take`). `secure`: received over TLS. Throws `HttpSyntaxError`.
 */
export function parseRequestHead(
  text: string,
  limits: HttpLimits = DEFAULT_HTTP_LIMITS,
  secure = false,
): RequestHead {
  const { startLine, fields } = parseLines(text, "downstream", limits.maxFields);
  const { method, rawTarget, minor } = parseRequestLine(startLine, limits.maxTargetBytes);
  const message = readMessageFields(fields, minor, "downstream");
  const { target, authority } = parseTarget(method, rawTarget);
  const host = checkHost(fields, minor, authority, secure);
  return {
    line: startLine,
    method,
    target,
    minor,
    fields,
    host,
    framing: message.chunked
      ? { kind: "chunked" }
      : message.length === undefined
        ? { kind: "none" }
        : { kind: "length", length: message.length },
    connection: message.connection,
    keepAlive: wantsKeepAlive(message.connection, minor),
  };
}

function parseRequestLine(
  line: string,
  maxTargetBytes: number,
): { method: string; rawTarget: string; minor: 0 | 1 } {
  const first = line.indexOf(" ");
  const last = line.lastIndexOf(" ");
  if (first < 0 || first === last) throw badRequest("request line");
  const method = line.slice(0, first);
  if (method.length > MAX_METHOD_BYTES || !isToken(method)) throw badRequest("method");
  const rawTarget = line.slice(first + 1, last);
  if (rawTarget.length > maxTargetBytes) {
    throw new HttpSyntaxError("downstream", 414, "target too long");
  }
  return { method, rawTarget, minor: parseVersion(line.slice(last + 1), "downstream") };
}

/** Printable ASCII without space and `#`: browsers leave some characters unescaped that RFC 3986 would escape. */
const TARGET = /^[\x21\x22\x24-\x7e]+$/;
const ABSOLUTE = /^(https?):\/\/([^/?]*)(.*)$/i;

/** The part of an absolute-form before its path. */
interface Authority {
  readonly scheme: string;
  /** Host, with the port if there was one. */
  readonly text: string;
}

/** RFC 9112 §3.2. CONNECT is refused: this is not a forward proxy. */
function parseTarget(
  method: string,
  raw: string,
): { target: string; authority: Authority | undefined } {
  if (!TARGET.test(raw) || method === "CONNECT") throw badRequest("target");
  if (raw.startsWith("/")) return { target: raw, authority: undefined };
  if (raw === "*" && method === "OPTIONS") return { target: raw, authority: undefined };
  const absolute = ABSOLUTE.exec(raw);
  const [, scheme, text, rest] = absolute ?? [];
  if (scheme === undefined || text === undefined || rest === undefined || !isHost(text)) {
    throw badRequest("target");
  }
  const authority = { scheme: scheme.toLowerCase(), text };
  if (rest === "") return { target: method === "OPTIONS" ? "*" : "/", authority };
  return { target: rest.startsWith("/") ? rest : `/${rest}`, authority };
}

const HOST = /^(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._~!$&'()*+,;=%-]{1,255})(?::\d{0,5})?$/;

/** Whether `text` is a valid Host: a name or an address, with or without a port (RFC 3986 §3.2.2). */
export function isHost(text: string): boolean {
  return HOST.test(text);
}

/** RFC 9112 §3.2: exactly one valid Host, equal to the authority of an absolute-form. */
function checkHost(
  fields: readonly Field[],
  minor: 0 | 1,
  authority: Authority | undefined,
  secure: boolean,
): string | undefined {
  let host: string | undefined;
  for (const field of fields) {
    if (field.lower !== "host") continue;
    if (host !== undefined) throw badRequest("two Host fields");
    host = field.value;
  }
  if (host === undefined) {
    if (minor === 1) throw badRequest("no Host field");
    return authority?.text;
  }
  if (!isHost(host)) throw badRequest("Host field");
  if (authority !== undefined && !isSameAuthority(authority, host, secure)) {
    throw badRequest("Host differs from the target");
  }
  return host;
}

/**
 * Whether a target and a Host name the same authority. Letter case does not count, and the scheme's default port may be
 * written, empty or omitted (RFC 9110 §4.2.3). Host has no scheme, so the connection's scheme decides its default port.
 */
function isSameAuthority(authority: Authority, host: string, secure: boolean): boolean {
  const [one, other] = [authority.text.toLowerCase(), host.toLowerCase()];
  if (one === other) return true;
  const defaultPort = secure ? /:(?:443)?$/ : /:(?:80)?$/;
  const isSameScheme = authority.scheme === (secure ? "https" : "http");
  return isSameScheme && one.replace(defaultPort, "") === other.replace(defaultPort, "");
}

function badRequest(reason: string): HttpSyntaxError {
  return new HttpSyntaxError("downstream", 400, reason);
}
