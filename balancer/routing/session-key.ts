/**
 * Request head to session key, and the rule that found it. Pure; the same on every balancer, for HTTP and WebSocket
 * alike, decided per request. Paths are read with duplicate slashes merged and without one at the end, as workers route
 * them; what is forwarded keeps its bytes.
 *
 * The rules, first hit wins: 1 `sid`: the worker's tag in an engine.io id · 2 `header`: `ctstickiness` · 3 `path`:
 * `/k/<key>/` in front, stripped · 4 `room`: the room id in `/api/session/join/<room>` and in join poll tokens ·
 * 5 `token`: the tag in login poll tokens and OAuth states · 6 `claim`: `room` of `x-oct-jwt` or `oct-jwt` ·
 * 7 `cookie`: `ctstickiness` · 8 `none`.
 */
import { isSessionId, type SessionKey, toSessionKey } from "../../shared/base/ids.ts";
import { readTag, type WorkerTag } from "../../shared/base/tag.ts";
import { dropTrailingSlash, mergeSlashes } from "../../shared/net/request-path.ts";
import { type Field, isFieldValue } from "../http1/fields.ts";

export type TagRule = "sid" | "token";
export type KeyRule = "header" | "path" | "room" | "claim" | "cookie";
export type Rule = TagRule | KeyRule | "none";

/** What a request's head says about its worker. */
export interface Route {
  /**
   * Goes before `key`, but counts only while the worker that it names lives; then `key` is what the later rules found.
   */
  readonly tag: { readonly rule: TagRule; readonly tag: WorkerTag } | undefined;
  readonly key: { readonly rule: KeyRule; readonly key: SessionKey } | undefined;
  /** The target as it is forwarded: without the prefix of rule 3. */
  readonly target: string;
  /** Whether it opens a new session. */
  readonly isCreate: boolean;
  /** Whether it is a step of signing in: a client takes any error there for the end of it. */
  readonly isSignIn: boolean;
  /** Whether sending it twice has the effect of sending it once. */
  readonly isRepeatable: boolean;
}

/** Longest token that is looked into: a room token has about 500 characters. */
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
      // It only asks; a client whose poll fails gives its join up.
      (request.method === "POST" && lastSegment(path, JOIN_POLL) !== undefined),
  };
}

/** RFC 9110 §9.2.2; TRACE never gets this far. */
const IDEMPOTENT: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]);

/**
 * Each of these may be sent twice: a poll and a check only ask, a sign-in counts once (the first answer to it stays), and
 * a second beginning is a ticket that nobody uses and that runs out.
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
  // A cookie stays behind from an earlier session: a new one must not be tied to it.
  if (isCreate) return undefined;
  const cookie = firstCookie(fields, "ctstickiness", toKey);
  return cookie === undefined ? undefined : { rule: "cookie", key: cookie };
}

/**
 * A key as somebody wrote it: quotes around it are removed, the rest is kept byte by byte (nothing is decoded here). It
 * must be such that a header, a cookie and a path could all say it, because it is sent on as a header.
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

/** Sticky, so that it is tried at the start only and takes time linear in the slashes. */
const PREFIX = /\/+k\/+/y;

/**
 * `/k/<key>` in front of a path, with any number of slashes between. The key is the segment's bytes with each `%XX`
 * decoded once. A segment that is no key (empty, too long, a broken escape, control bytes) is no prefix: the request goes
 * on with its path as it came.
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

/** Each `%XX` as the byte it stands for (as latin1); undefined when one is broken. */
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

/** Also behind a base path, so the last occurrence counts. */
function findRoom(path: string): SessionKey | undefined {
  const room = lastSegment(path, JOIN);
  if (room !== undefined) return isSessionId(room) ? room : undefined;
  const token = lastSegment(path, JOIN_POLL);
  if (token === undefined || !POLL_TOKEN.test(token)) return undefined;
  return toSessionKey(token.slice(0, SESSION_ID_CHARS));
}

/** What follows `route` at the end of `path`, when that is one segment. */
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
  // `/api/login/<provider>?token=` sends to the provider, `/api/login/<provider>-callback?state=` comes back.
  if (lastSegment(path, LOGIN) === undefined) return undefined;
  return firstTag(query, "state") ?? firstTag(query, "token");
}

/** The tag of the first parameter `name` that has one. */
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

/** The `room` claim, unverified: a hint where to go, the worker verifies. A user's token has none. */
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

/** The first cookie `name` whose value `read` accepts, over all Cookie fields in order. */
function firstCookie<Value>(
  fields: readonly Field[],
  name: string,
  read: (value: string) => Value | undefined,
): Value | undefined {
  for (const field of fields) {
    if (field.lower !== "cookie") continue;
    // By hand, pair by pair: splitting would make an array of thousands out of a hostile field.
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
