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
import {
  isSessionId,
  type SessionKey,
  sessionOfPollToken,
  toSessionKey,
} from "../../shared/base/ids.ts";
import { readTag, type WorkerTag } from "../../shared/base/worker-tag.ts";
import { firstCookie } from "../../shared/net/cookies.ts";
import { dropTrailingSlash, mergeSlashes } from "../../shared/net/request-path.ts";
import { type Field, isFieldValue } from "../http1/fields.ts";
import type { RequestHead, RequestValues } from "../http1/head.ts";

type TagRule = "sid" | "token";
type KeyRule = "header" | "path" | "room" | "claim" | "cookie";
export type Rule = TagRule | KeyRule | "none";

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
  /** What it begins, which is limited apart; undefined: nothing. */
  readonly kind?: "creates" | "joins" | "logins" | "handshakes" | undefined;
  /** Whether sending it twice has the same effect as once. */
  readonly isRepeatable: boolean;
}

/** Longer tokens are ignored: a room token has about 500 characters. */
const MAX_JWT_CHARS = 8192;

/** The parts of a request head that determine its route. */
export interface RoutedRequest extends Pick<RequestHead, "method" | "target"> {
  readonly values: Pick<RequestValues, "cookies" | "keys" | "tokens">;
}

export function findRoute({ method, target: received, values }: RoutedRequest): Route {
  const prefix = readPrefix(received);
  const target = prefix?.rest ?? received;
  const question = target.indexOf("?");
  const path = plainPath(question < 0 ? target : target.slice(0, question));
  const query = question < 0 ? "" : target.slice(question + 1);

  const isPost = method === "POST";
  const isCreate = isPost && path.endsWith("/api/session/create");
  const segment = findSegment(path);
  const isSignIn = isPost && segment !== undefined && isSignInRoute(segment.route);
  const isSocket = isSocketPath(path);
  const sid = isSocket ? firstTag(query, "sid") : undefined;
  const early = findEarlyKey(values.keys, prefix?.key, segment);
  const isTagged = sid === undefined && early === undefined && segment !== undefined;
  const token = isTagged ? findTokenTag(segment, query) : undefined;
  return {
    tag:
      sid !== undefined
        ? { rule: "sid", tag: sid }
        : token !== undefined
          ? { rule: "token", tag: token }
          : undefined,
    key: early ?? findLateKey(values, isCreate),
    target,
    isCreate,
    isSignIn,
    kind: isSocket
      ? kindOfSocket(method, query)
      : isPost
        ? kindOfPost(isCreate, segment)
        : undefined,
    isRepeatable:
      isSignIn ||
      isIdempotent(method) ||
      // A poll changes nothing, and a client whose poll fails abandons its join.
      (isPost && segment?.route === JOIN_POLL),
  };
}

/** The request whose head has these fields. */
export function routedRequest(
  method: string,
  target: string,
  fields: readonly Pick<Field, "name" | "value">[],
): RoutedRequest {
  const valuesOf = (lower: string): string[] =>
    fields.filter(({ name }) => name.toLowerCase() === lower).map(({ value }) => value);
  return {
    method,
    target,
    values: {
      cookies: valuesOf("cookie").join(";"),
      keys: valuesOf("ctstickiness"),
      tokens: valuesOf("x-oct-jwt"),
    },
  };
}

/** As workers route it. */
function plainPath(path: string): string {
  const merged = path.includes("//") ? mergeSlashes(path) : path;
  return merged.length > 1 && merged.endsWith("/") ? dropTrailingSlash(merged) : merged;
}

/** RFC 9110 §9.2.2; TRACE is refused earlier. */
function isIdempotent(method: string): boolean {
  return method === "GET" || IDEMPOTENT.has(method);
}

const IDEMPOTENT: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]);

/**
 * All of these may be sent twice: a poll and a check change nothing, only the first completion of a sign-in counts, and a
 * second start creates an unused ticket that expires.
 */
function isSignInRoute(route: SegmentRoute): boolean {
  return route === LOGIN || route === LOGIN_POLL;
}

/** Rules 2 to 4. */
function findEarlyKey(
  keys: RequestValues["keys"],
  prefixKey: SessionKey | undefined,
  segment: Segment | undefined,
): Route["key"] {
  const header = keys.length === 0 ? undefined : firstKey(keys);
  if (header !== undefined) return { rule: "header", key: header };
  if (prefixKey !== undefined) return { rule: "path", key: prefixKey };
  const room = segment === undefined ? undefined : findRoom(segment);
  return room === undefined ? undefined : { rule: "room", key: room };
}

/** Rules 6 and 7. */
function findLateKey(
  { tokens, cookies }: RoutedRequest["values"],
  isCreate: boolean,
): Route["key"] {
  const claim = findClaim(tokens, cookies);
  if (claim !== undefined) return { rule: "claim", key: claim };
  // The cookie may be left over from an earlier session; a new one must not follow it.
  if (isCreate) return undefined;
  const cookie = firstCookie(cookies, "ctstickiness", toKey);
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

function firstKey(values: readonly string[]): SessionKey | undefined {
  for (const value of values) {
    const key = toKey(value);
    if (key !== undefined) return key;
  }
  return undefined;
}

// --- rule 3: path prefix ---

const LOWER_K = 0x6b;
const SLASH = 0x2f;
/** Sticky: it matches at the start only, in time linear in the slashes. */
const PREFIX = /\/+k\/+/y;

/**
 * `/k/<key>` at the start of a path, with any number of slashes between. The key is the segment with each `%XX` decoded
 * once. A segment that is not a key (empty, too long, an invalid escape, control bytes) is not a prefix: the path stays
 * unchanged.
 */
function readPrefix(target: string): { key: SessionKey; rest: string } | undefined {
  const second = target.charCodeAt(1);
  if (second !== LOWER_K && second !== SLASH) return undefined;
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

// --- rules 4 and 5: ids and tokens in paths ---

const JOIN = "/api/session/join/";
const JOIN_POLL = "/api/session/poll/";
const LOGIN = "/api/login/";
const LOGIN_POLL = "/api/login/poll/";

type SegmentRoute = typeof JOIN | typeof JOIN_POLL | typeof LOGIN | typeof LOGIN_POLL;

function kindOfPost(isCreate: boolean, segment: Segment | undefined): Route["kind"] {
  if (isCreate) return "creates";
  return segment && KINDS.get(segment.route);
}

const KINDS: ReadonlyMap<SegmentRoute, "joins" | "logins"> = new Map([
  [JOIN, "joins"],
  [LOGIN, "logins"],
]);

/** The last segment of a path, and the route that precedes it. */
interface Segment {
  readonly route: SegmentRoute;
  readonly text: string;
}

const LOWER_N = 0x6e;
const LOWER_L = 0x6c;

/** The path may have a base path in front, so the last occurrence of a route counts. */
function findSegment(path: string): Segment | undefined {
  const at = path.lastIndexOf("/") + 1;
  // Most paths have no such route: the routes end with `join/`, `login/` or `poll/`.
  const last = path.charCodeAt(at - 2);
  if (last !== LOWER_N && last !== LOWER_L) return undefined;
  const route = routeBefore(path.slice(0, at));
  return route === undefined ? undefined : { route, text: path.slice(at) };
}

function routeBefore(folder: string): SegmentRoute | undefined {
  if (folder.endsWith(JOIN)) return JOIN;
  if (folder.endsWith(JOIN_POLL)) return JOIN_POLL;
  if (folder.endsWith(LOGIN_POLL)) return LOGIN_POLL;
  return folder.endsWith(LOGIN) ? LOGIN : undefined;
}

/** The room is the protocol's word for a session. */
function findRoom({ route, text }: Segment): SessionKey | undefined {
  if (route === JOIN) return isSessionId(text) ? text : undefined;
  return route === JOIN_POLL ? sessionOfPollToken(text) : undefined;
}

// --- rules 1 and 5: tags ---

/** As engine.io reads it: a handshake is a GET, and a socket's later requests name it. An empty `sid` names none. */
function kindOfSocket(method: string, query: string): "handshakes" | undefined {
  return method === "GET" && !/(?:^|&)sid=[^&]/.test(query) ? "handshakes" : undefined;
}

/** The socket path is `<base path>/socket.io`. */
function isSocketPath(path: string): boolean {
  return path.endsWith("/socket.io");
}

function findTokenTag({ route, text }: Segment, query: string): WorkerTag | undefined {
  if (route === LOGIN_POLL) return readTag(text);
  // `/api/login/<provider>?token=` redirects to the provider, which redirects to `/api/login/<provider>-callback?state=`.
  if (route !== LOGIN) return undefined;
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

function findClaim(
  tokens: RequestValues["tokens"],
  cookies: RequestValues["cookies"],
): SessionKey | undefined {
  for (const token of tokens) {
    const room = readRoomClaim(token);
    if (room !== undefined) return room;
  }
  return firstCookie(cookies, "oct-jwt", readRoomClaim);
}

/** The first token that rule 6 may read and `accepts` takes; of the header first. */
export function findToken(
  { tokens, cookies }: Pick<RequestValues, "tokens" | "cookies">,
  accepts: (token: string) => boolean,
): string | undefined {
  return (
    tokens.find(accepts) ??
    firstCookie(cookies, "oct-jwt", (token) => (accepts(token) ? token : undefined))
  );
}

/** The `room` claim, unverified: it only decides the route, the worker verifies the token. A user token has none. */
export function readRoomClaim(token: string): SessionKey | undefined {
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
