/**
 * The line of one request in access.log, in nginx's combined form:
 *
 *     address - user [time] "request line" status bytes "referer" "user agent"
 *
 * Whatever a client sends, it is exactly one line of ASCII: `"`, `\` and what is not printable are written as `\xHH`. What
 * gives access (keys, tokens, ids) is shown by its beginning only. Pure.
 */

import type { Field } from "../http1/fields.ts";
import { clientAddress, FORWARDING, type TrustedProxies } from "../http1/forwarding.ts";

/** What is known of a request when its answer is over. */
export interface Served {
  /** The address of the other side of its connection. */
  readonly peerAddress: string;
  /** As it was received, as far as it was; empty when nothing of it was. */
  readonly requestLine: string;
  /** None when the head could not be read. */
  readonly fields: readonly Field[];
  readonly status: number;
  /** What was handed to the system of the answer behind its head. */
  readonly bodyBytes: number;
}

/** Characters after which a part is cut, so that one hostile request cannot fill a disk. */
const MAX_PART_CHARS = 1024;

/** The line, with its line feed. `time` comes from `logTime`. */
export function accessLine(served: Served, trusted: TrustedProxies, time: string): string {
  let referer = "-";
  let userAgent = "-";
  let user = "-";
  for (const { lower, value } of served.fields) {
    switch (lower) {
      case "referer":
        referer = shown(maskSecrets(value));
        break;
      case "user-agent":
        userAgent = shown(value);
        break;
      case "authorization":
        user = basicUser(value);
        break;
    }
  }
  const request = shown(maskSecrets(served.requestLine));
  const address = clientAddress(served.fields, served.peerAddress, trusted) || "-";
  return `${address} - ${user} [${time}] "${request}" ${served.status} ${served.bodyBytes} "${referer}" "${userAgent}"\n`;
}

const LOGGED: ReadonlySet<string> = new Set([
  "authorization",
  "referer",
  "user-agent",
  // What `clientAddress` may read.
  ...FORWARDING,
]);

/** Whether a line is made of this field too. */
export function isLogged(lower: string): boolean {
  return LOGGED.has(lower);
}

/** The name that Basic sends along (RFC 7617); whether the password was right, only the worker knows. */
function basicUser(authorization: string): string {
  if (!/^basic /i.test(authorization)) return "-";
  const decoded = Buffer.from(authorization.slice(6), "base64").toString("latin1");
  const colon = decoded.indexOf(":");
  // Fields are told apart by blanks, and this is the only one without a frame of its own.
  return colon > 0 ? shown(decoded.slice(0, colon)).replaceAll(" ", "\\x20") : "-";
}

// --- what may be shown ---

/** Anything but printable ASCII, and what frames a part. */
const UNSAFE = /[^\x20\x21\x23-\x5b\x5d-\x7e]/;
const ALL_UNSAFE = new RegExp(UNSAFE, "g");

function shown(text: string): string {
  if (text === "") return "-";
  const cut = text.length > MAX_PART_CHARS ? `${text.slice(0, MAX_PART_CHARS)}...` : text;
  return UNSAFE.test(cut) ? escapeUnsafe(cut) : cut;
}

/** `\xHH` for each byte that could end a part or a line, or drive a terminal. */
export function escapeUnsafe(text: string): string {
  return text.replace(ALL_UNSAFE, (char) => {
    // Text of clients is latin1; anything else is ours, and then its low byte would lie.
    const code = char.charCodeAt(0);
    return code > 0xff ? "?" : `\\x${code.toString(16).toUpperCase().padStart(2, "0")}`;
  });
}

const MAY_HOLD_SECRET = /\/k\/|\/api\/|=/;
/** Characters of a key that help to tell sessions apart, and do not give access. */
const SHOWN_CHARS = 4;
/** Slashes may be doubled: workers take them for one. */
const PATH_SECRETS =
  /((?:^|[ /])(?:k|api\/+session\/+join|api\/+session\/+poll|api\/+login\/+poll|dashboard\/+api\/+sessions)\/+)([^/?# ]*)/g;
const QUERY_SECRETS =
  /([?&](?:sid|token|state|code|room|key|jwt|oct-jwt|access_token|id_token|api_key|password)=)[^&# ]+/gi;

/** A request line or a URL in which what gives access is cut off: session keys, poll tokens, socket ids, OAuth's words. */
export function maskSecrets(text: string): string {
  if (!MAY_HOLD_SECRET.test(text)) return text;
  return text
    .replace(PATH_SECRETS, (_, path: string, secret: string) => path + beginningOf(secret))
    .replace(QUERY_SECRETS, "$1*");
}

/** Never more than half of it: a client may choose a key of one character. */
function beginningOf(secret: string): string {
  return `${secret.slice(0, Math.min(SHOWN_CHARS, Math.floor(secret.length / 2)))}*`;
}

// --- time ---

const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");

/** Local time with its offset, as `25/Nov/2026:19:23:28 +0000`. */
export function logTime(wallMs: number): string {
  const date = new Date(wallMs);
  const offset = -date.getTimezoneOffset();
  const zone = `${offset < 0 ? "-" : "+"}${two(Math.floor(Math.abs(offset) / 60))}${two(Math.abs(offset) % 60)}`;
  const day = `${two(date.getDate())}/${MONTHS[date.getMonth()]}/${date.getFullYear()}`;
  return `${day}:${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())} ${zone}`;
}

function two(number: number): string {
  return String(number).padStart(2, "0");
}
