/**
 * Finds the session key in a request head, and the rule that found it. Pure, per request, the same on every balancer and
 * for HTTP and WebSocket. Paths are read as workers route them, with duplicate slashes merged and without a trailing one;
 * the forwarded target keeps its bytes.
 *
 * The rules, first hit wins: 1 `sid`: the worker's tag in an engine.io id · 2 `header`: `ctstickiness` · 3 `path`:
 * the prefix `/k/<key>/`, which is stripped · 4 `room`: the room id in `/api/session/join/<room>` and in join poll tokens ·
 * 5 `token`: the tag in login poll tokens and OAuth states · 6 `claim`: `room` of `x-oct-jwt` or `oct-jwt` ·
 * 7 `cookie`: `ctstickiness` · 8 `none`.
 */
import { isSessionId, type SessionKey, toSessionKey } from "../../../shared/base/ids.ts";
import { readTag, type WorkerTag } from "../../../shared/base/worker-tag.ts";
import { dropTrailingSlash, mergeSlashes } from "../../../shared/net/request-path.ts";
import { type Field, isFieldValue } from "./fields.ts";

export type TagRule = "sid" | "token";
export type KeyRule = "header" | "path" | "room" | "claim" | "cookie";

/** What a request head determines about routing. */
export interface Route {
  /**
   * Takes precedence over `key`, but only while its worker is a member; otherwise `key`, found by the later rules, counts.
   */
  readonly tag: { readonly rule: TagRule; readonly tag: WorkerTag } | undefined;
  readonly key: { readonly rule: KeyRule; readonly key: SessionKey } | undefined;
  /** The forwarded target: without the prefix of rule 3. */
  readonly target: string;
  /** Whether it creates a session. */
  readonly isCreate: boolean;
  /** Whether it is a sign-in step: clients abort the sign-in on any error. */
  readonly isSignIn: boolean;
  /** Whether sending it twice has the same effect as once. */
  readonly isRepeatable: boolean;
}

/** Longer tokens are ignored: a room token has about 500 characters. */
const MAX_JWT_CHARS = 8192;

export function findRoute(request: {
  readonly method: string;
  readonly target: string;
  readonly fields: readonly Field[];
}): Route {
  const { fields } = request;
  const prefix = readPrefix(request.target);
  const target = prefix?.rest ?? request.target;
  const question = target.indexOf("?");
  const path = dropTrailingSlash(mergeSlashes(question < 0 ? target : target.slice(0, question)));
  const query = question < 0 ? "" : target.slice(question + 1);

  const isCreate = request.method === "POST" && path.endsWith("/api/session/create");
  const isSignIn = request.method === "POST" && isSignInPath(path);
  const sid = isSocketPath(path) ? firstTag(query, "sid") : undefined;
  const early = findEarlyKey(fields, prefix?.key, path);
  const token = sid === undefined && early === undefined ? findTokenTag(path, query) : undefined;
  return {
    tag:
      sid !== undefined
        ? { rule: "sid", tag: sid }
        : token !== undefined
          ? { rule: "token", tag: token }
          : undefined,
    key: early ?? findLateKey(fields, isCreate),
    target,
    isCreate,
    isSignIn,
    isRepeatable:
      isSignIn ||
      IDEMPOTENT.has(request.method) ||
      // A poll changes nothing, and a client whose poll fails abandons its join.
      (request.method === "POST" && lastSegment(path, JOIN_POLL) !== undefined),
  };
}

/** RFC 9110 §9.2.2; TRACE is refused earlier. */
const IDEMPOTENT: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]);

/**
 * All of these may be sent twice: a poll and a check change nothing, only the first completion of a sign-in counts, and a
 * second start creates an unused ticket that expires.
 */
function isSignInPath(path: string): boolean {
  return lastSegment(path, LOGIN) !== undefined || lastSegment(path, LOGIN_POLL) !== undefined;
}

/** Rules 2 to 4. */
function findEarlyKey(
  fields: readonly Field[],
  prefixKey: SessionKey | undefined,
  path: string,
): Route["key"] {
  const header = firstHeaderKey(fields);
  if (header !== undefined) return { rule: "header", key: header };
  if (prefixKey !== undefined) return { rule: "path", key: prefixKey };
  const room = findRoom(path);
  return room === undefined ? undefined : { rule: "room", key: room };
}

/** Rules 6 and 7. */
function findLateKey(fields: readonly Field[], isCreate: boolean): Route["key"] {
  const claim = findClaim(fields);
  if (claim !== undefined) return { rule: "claim", key: claim };
  // The cookie may be left over from an earlier session; a new one must not follow it.
  if (isCreate) return undefined;
  const cookie = firstCookie(fields, "ctstickiness", toKey);
  return cookie === undefined ? undefined : { rule: "cookie", key: cookie };
}

/**
 * The key in `text`, without surrounding quotes; nothing is decoded. Only a valid field value is a key, because it is
 * forwarded as a header.
 */
function toKey(text: string): SessionKey | undefined {
  const quoted = text.length >= 2 && text.startsWith('"') && text.endsWith('"');
  const key = toSessionKey(quoted ? text.slice(1, -1) : text);
  return key !== undefined && isFieldValue(key) ? key : undefined;
}

// --- rule 2: header ---

function firstHeaderKey(fields: readonly Field[]): SessionKey | undefined {
  for (const field of fields) {
    if (field.lower !== "ctstickiness") continue;
    const key = toKey(field.value);
    if (key !== undefined) return key;
  }
  return undefined;
}

// --- rule 3: path prefix ---

/** Sticky: it matches at the start only, in time linear in the slashes. */
const PREFIX = /\/+k\/+/y;

/**
 * `/k/<key>` at the start of a path, with any number of slashes between. The key is the segment with each `%XX` decoded
 * once. A segment that is not a key (empty, too long, an invalid escape, control bytes) is not a prefix: the path stays
 * unchanged.
 */
function readPrefix(target: string): { key: SessionKey; rest: string } | undefined {
  PREFIX.lastIndex = 0;
  if (!PREFIX.test(target)) return undefined;
  const start = PREFIX.lastIndex;
  let end = start;
  while (end < target.length && target[end] !== "/" && target[end] !== "?") end++;
  const decoded = decodePercent(target.slice(start, end));
  const key = decoded === undefined ? undefined : toKey(decoded);
  if (key === undefined) return undefined;
  const rest = target.slice(end);
  // `/k/KEY` is the base URL itself.
  return { key, rest: rest.startsWith("/") ? rest : `/${rest}` };
}

/** Decodes each `%XX` to its byte (as latin1); undefined if an escape is invalid. */
function decodePercent(text: string): string | undefined {
  if (!text.includes("%")) return text;
  if (/%(?![0-9A-Fa-f]{2})/.test(text)) return undefined;
  return text.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
}

// --- rule 4: room ids in paths (the protocol's word for a session) ---

const JOIN = "/api/session/join/";
const JOIN_POLL = "/api/session/poll/";
const SESSION_ID_CHARS = 24;
const POLL_TOKEN = /^[A-Za-z0-9]{25,256}$/;

/** The path may have a base path in front, so the last occurrence counts. */
function findRoom(path: string): SessionKey | undefined {
  const room = lastSegment(path, JOIN);
  if (room !== undefined) return isSessionId(room) ? room : undefined;
  const token = lastSegment(path, JOIN_POLL);
  if (token === undefined || !POLL_TOKEN.test(token)) return undefined;
  return toSessionKey(token.slice(0, SESSION_ID_CHARS));
}

/** The last segment of `path`, if `route` precedes it. */
function lastSegment(path: string, route: string): string | undefined {
  const at = path.lastIndexOf("/") + 1;
  return path.slice(0, at).endsWith(route) ? path.slice(at) : undefined;
}

// --- rules 1 and 5: tags ---

/** The socket path is `<base path>/socket.io`. */
function isSocketPath(path: string): boolean {
  return path.endsWith("/socket.io");
}

const LOGIN = "/api/login/";
const LOGIN_POLL = "/api/login/poll/";

function findTokenTag(path: string, query: string): WorkerTag | undefined {
  const polled = lastSegment(path, LOGIN_POLL);
  if (polled !== undefined) return readTag(polled);
  // `/api/login/<provider>?token=` redirects to the provider, which redirects to `/api/login/<provider>-callback?state=`.
  if (lastSegment(path, LOGIN) === undefined) return undefined;
  return firstTag(query, "state") ?? firstTag(query, "token");
}

/** The tag in the first parameter `name` that has one. */
function firstTag(query: string, name: string): WorkerTag | undefined {
  const wanted = `${name}=`;
  let start = 0;
  while (start < query.length) {
    let end = query.indexOf("&", start);
    if (end < 0) end = query.length;
    if (query.startsWith(wanted, start)) {
      const tag = readTag(query.slice(start + wanted.length, end));
      if (tag !== undefined) return tag;
    }
    start = end + 1;
  }
  return undefined;
}

// --- rule 6: claim ---

function findClaim(fields: readonly Field[]): SessionKey | undefined {
  for (const field of fields) {
    if (field.lower !== "x-oct-jwt") continue;
    const room = readRoomClaim(field.value);
    if (room !== undefined) return room;
  }
  return firstCookie(fields, "oct-jwt", readRoomClaim);
}

/** The `room` claim, unverified: it only decides the route, the worker verifies the token. A user token has none. */
function readRoomClaim(token: string): SessionKey | undefined {
  if (token.length > MAX_JWT_CHARS) return undefined;
  const first = token.indexOf(".");
  const last = token.lastIndexOf(".");
  if (first < 0 || first === last) return undefined;
  let claims: unknown;
  try {
    claims = JSON.parse(Buffer.from(token.slice(first + 1, last), "base64url").toString("utf8"));
  } catch {
    return undefined;
  }
  if (typeof claims !== "object" || claims === null || !Object.hasOwn(claims, "room")) {
    return undefined;
  }
  const { room } = claims as { room: unknown };
  return typeof room === "string" && isSessionId(room) ? room : undefined;
}

// --- rule 7: cookies ---

/** The first accepted value of the cookie `name`, over all Cookie fields in order. */
function firstCookie<Value>(
  fields: readonly Field[],
  name: string,
  read: (value: string) => Value | undefined,
): Value | undefined {
  for (const field of fields) {
    if (field.lower !== "cookie") continue;
    // Pair by pair: split() would allocate thousands of strings for a hostile field.
    let start = 0;
    while (start < field.value.length) {
      let end = field.value.indexOf(";", start);
      if (end < 0) end = field.value.length;
      const value = cookieValue(field.value.slice(start, end).trim(), name);
      const found = value === undefined ? undefined : read(value);
      if (found !== undefined) return found;
      start = end + 1;
    }
  }
  return undefined;
}

function cookieValue(pair: string, name: string): string | undefined {
  if (!pair.startsWith(name)) return undefined;
  const equals = pair.indexOf("=");
  if (equals < 0 || pair.slice(0, equals).trim() !== name) return undefined;
  return pair.slice(equals + 1).trim();
}
