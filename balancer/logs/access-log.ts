/**
 * The line of one request in access.log, in nginx's combined form:
 *
 *     address - user [time] "request line" status bytes "referer" "user agent"
 *
 * Always exactly one line of ASCII, whatever a client sends: `"`, `\` and unprintable bytes are written as `\xHH`. Only the
 * first characters of credentials (keys, tokens, ids) are shown. Pure.
 */
import { claimedUser } from "../../shared/net/basic-auth.ts";
import { clientAddress, type TrustedProxies } from "../http1/forwarding.ts";
import type { RequestHead, RequestValues } from "../http1/head.ts";

/** A finished request. */
export interface Served {
  /** The remote address of its connection. */
  readonly peerAddress: string;
  /** As received, possibly incomplete or empty. */
  readonly requestLine: string;
  /** Undefined when it could not be parsed. */
  readonly head: LoggedHead | undefined;
  readonly status: number;
  /** Bytes of the response body that were handed to the operating system. */
  readonly bodyBytes: number;
}

/** What is logged of a head. */
export interface LoggedHead {
  readonly values: Pick<RequestValues, "referer" | "userAgent" | "authorization">;
  /** Only the forwarding fields are read, and only those of a trusted proxy. */
  readonly fields: RequestHead["fields"];
}

/** Longer parts are cut, so that one hostile request cannot fill a disk. */
const MAX_PART_CHARS = 1024;

/** The line with its line feed. `time` comes from `logTime`. */
export function accessLine(served: Served, trusted: TrustedProxies, time: string): string {
  const { head, peerAddress } = served;
  const { referer, userAgent, authorization } = head?.values ?? {};
  const request = formatPart(maskSecrets(served.requestLine));
  const from = referer === undefined ? "-" : formatPart(maskSecrets(referer));
  const by = userAgent === undefined ? "-" : formatPart(userAgent);
  const user = authorization === undefined ? "-" : basicUser(authorization);
  const isProxied = head !== undefined && trusted.has(peerAddress);
  const address = isProxied ? clientAddress(head.fields, peerAddress, trusted) : peerAddress;
  return `${address || "-"} - ${user} [${time}] "${request}" ${served.status} ${served.bodyBytes} "${from}" "${by}"\n`;
}

/** The user name of Basic authentication (RFC 7617); only the worker verifies the password. */
function basicUser(authorization: string): string {
  const user = claimedUser(authorization);
  // Spaces separate the parts, and this is the only part from a client without quotes or brackets.
  return formatPart(user).replaceAll(" ", "\\x20");
}

// --- escaping and masking ---

/** Anything but printable ASCII, and the characters that delimit or escape a part. */
const UNSAFE = /[^\x20\x21\x23-\x5b\x5d-\x7e]/;
const ALL_UNSAFE = new RegExp(UNSAFE, "g");

function formatPart(text: string): string {
  if (text === "") return "-";
  const cut = text.length > MAX_PART_CHARS ? `${text.slice(0, MAX_PART_CHARS)}...` : text;
  return UNSAFE.test(cut) ? escapeUnsafe(cut) : cut;
}

/** `\xHH` for each byte that could end a part or a line, or control a terminal. */
export function escapeUnsafe(text: string): string {
  return text.replace(ALL_UNSAFE, (char) => {
    // Text from clients is latin1; other characters are the balancer's own, and their low byte would be misleading.
    const code = char.charCodeAt(0);
    return code > 0xff ? "?" : `\\x${code.toString(16).toUpperCase().padStart(2, "0")}`;
  });
}

const MAY_HOLD_SECRET = /\/k\/|\/api\/|\/join\/|=/;
/** Enough characters of a key to distinguish sessions, too few to give access. */
const SHOWN_CHARS = 4;
/** Slashes may be doubled: workers merge them. */
const PATH_SECRETS =
  /((?:^|[ /])(?:k|join|api\/+session\/+join|api\/+session\/+poll|api\/+login\/+poll|dashboard\/+api\/+sessions)\/+)([^/?# ]*)/g;
const QUERY_SECRETS =
  /([?&](?:sid|token|state|code|room|key|jwt|oct-jwt|access_token|id_token|api_key|password)=)[^&# ]+/gi;

/** A request line or URL with its credentials cut: session keys, poll tokens, socket ids, OAuth parameters. */
export function maskSecrets(text: string): string {
  if (!MAY_HOLD_SECRET.test(text)) return text;
  return text
    .replace(PATH_SECRETS, (_, path: string, secret: string) => path + beginningOf(secret))
    .replace(QUERY_SECRETS, "$1*");
}

/** At most half of it: a client may choose a key of one character. */
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
