/**
 * Parses a peer's bytes into a checked message. Only what a worker needs is read; contents and wrapped keys stay ranges in
 * the bytes. The protocol calls a session "room"; only this file and outbound.ts use that word.
 */
import { decode } from "@msgpack/msgpack";
import { parse as parseVersion } from "semver";
import { Cursor, MalformedError, type Span } from "./msgpack.ts";

/**
 * The version of the worker's own messages. Clients do not check it: they compare their own with the one in `/api/meta`,
 * which is a setting.
 */
export const PROTOCOL_VERSION = "0.3.1";

export type Kind = "request" | "response" | "response-error" | "notification" | "broadcast";

/** A peer's message, checked. Spans are ranges in `bytes`. */
export interface Message {
  readonly bytes: Buffer;
  readonly kind: Kind;
  /** Whether the content is bytes: the protocol's only test for "encrypted". */
  readonly encrypted: boolean;
  /** The receiver of a request or notification; `""` is the worker itself. */
  readonly target: string | undefined;
  /** The id of a request or response: a number or a string. */
  readonly id: Span | undefined;
  readonly content: Span;
  readonly metadata: Metadata;
  /** Entries (name and value) that are relayed as they are. */
  readonly others: readonly Span[];
}

export interface Metadata {
  /** The whole map. */
  readonly span: Span;
  /** The content's key, encrypted for each receiver. */
  readonly keys: readonly WrappedKey[];
  /** Entries of the map beside `encryption`. */
  readonly others: readonly Span[];
  /** Entries of `encryption` beside `keys`. */
  readonly encryptionOthers: readonly Span[];
}

export interface WrappedKey {
  /** The peer that can unwrap it. */
  readonly target: string;
  readonly span: Span;
}

/** Why bytes are not a valid message. */
export type Refusal = "malformed" | "version" | "kind";

/** Valid names and ids are shorter. */
const MAX_NAME_BYTES = 64;
const MAX_ID_BYTES = 128;
/** Entries of a message's own maps: the protocol has at most 8. */
const MAX_ENTRIES = 32;
/** As many as a session may have peers. */
const MAX_KEYS = 10_000;
/** A plain content is a response to a join request, or `room/leave`. */
const MAX_PLAIN_BYTES = 256 * 1024;

/** The message in `bytes`, or why it is invalid. Never throws, whatever the bytes are. */
export function parseMessage(bytes: Buffer, acceptsVersion: VersionCheck): Message | Refusal {
  try {
    const cursor = new Cursor(bytes);
    const message = readMessage(cursor, acceptsVersion);
    return cursor.at === bytes.length ? message : "malformed";
  } catch (error) {
    if (error instanceof MalformedError) return "malformed";
    throw error;
  }
}

/** The id of a response as text; undefined when it is not a string, as all ids that we give are. */
export function idText(message: Message): string | undefined {
  if (message.id === undefined) return undefined;
  const cursor = new Cursor(message.bytes);
  cursor.at = message.id.start;
  return cursor.isText() ? cursor.text(MAX_ID_BYTES * 4) : undefined;
}

/** The content of a message that is not encrypted, decoded; undefined when it is encrypted, too large or malformed. */
export function plainContent(message: Message): unknown {
  const { start, end } = message.content;
  if (message.encrypted || end - start > MAX_PLAIN_BYTES) return undefined;
  try {
    return decode(message.bytes.subarray(start, end));
  } catch {
    // The cursor allows what the decoder does not, such as the name `__proto__`.
    return undefined;
  }
}

// --- reading ---

interface Draft {
  kind?: string;
  version?: string;
  target?: string;
  id?: Span;
  metadata?: Metadata;
  content?: Span;
  encrypted: boolean;
  hasOrigin: boolean;
  readonly others: Span[];
}

function readMessage(cursor: Cursor, acceptsVersion: VersionCheck): Message | Refusal {
  const draft: Draft = { encrypted: false, hasOrigin: false, others: [] };
  const size = cursor.mapSize();
  if (size > MAX_ENTRIES) throw new MalformedError("too many entries");
  for (let i = 0; i < size; i++) readEntry(cursor, draft);
  const { kind, version, target, id, metadata, content, encrypted, others } = draft;
  if (kind === undefined || version === undefined || metadata === undefined) return "malformed";
  if (!acceptsVersion(version)) return "version";
  if (!isKind(kind)) return "kind";
  if (content === undefined || (needsId(kind) && id === undefined)) return "malformed";
  return { bytes: cursor.bytes, kind, encrypted, target, id, content, metadata, others };
}

/**
 * One name and value. A duplicate name is refused: the worker would check one value and the receiver use the other. Names
 * that are not strings are refused too, because decoders turn them into strings.
 */
function readEntry(cursor: Cursor, draft: Draft): void {
  const start = cursor.at;
  const name = cursor.text(MAX_NAME_BYTES);
  switch (name) {
    case "kind":
      once(draft.kind);
      draft.kind = cursor.text(MAX_NAME_BYTES);
      break;
    case "version":
      once(draft.version);
      draft.version = cursor.text(MAX_NAME_BYTES);
      break;
    case "target":
      once(draft.target);
      // In a broadcast encoded by msgpackr the target may be undefined.
      if (cursor.isText()) draft.target = cursor.text(MAX_ID_BYTES);
      else cursor.skip();
      break;
    case "id":
      once(draft.id);
      draft.id = readId(cursor);
      return;
    case "origin":
      once(draft.hasOrigin || undefined);
      draft.hasOrigin = true;
      // Replaced by the sender's id, whatever it claims.
      cursor.skip();
      return;
    case "metadata":
      once(draft.metadata);
      draft.metadata = readMetadata(cursor);
      return;
    case "content":
      once(draft.content);
      draft.encrypted = cursor.isBinary();
      draft.content = cursor.skip();
      return;
    default:
      cursor.skip();
  }
  draft.others.push({ start, end: cursor.at });
}

function readId(cursor: Cursor): Span {
  if (!cursor.isText() && !cursor.isNumber()) throw new MalformedError("an id of an unknown type");
  const span = cursor.skip();
  // Our own ids contain a peer's id, so they are longer than those of clients.
  if (span.end - span.start > MAX_ID_BYTES * 4) throw new MalformedError("an id that is too long");
  return span;
}

function readMetadata(cursor: Cursor): Metadata {
  const start = cursor.at;
  const others: Span[] = [];
  let encryption: Pick<Metadata, "keys" | "encryptionOthers"> | undefined;
  const size = cursor.mapSize();
  if (size > MAX_ENTRIES) throw new MalformedError("too many entries");
  for (let i = 0; i < size; i++) {
    const entryStart = cursor.at;
    if (cursor.text(MAX_NAME_BYTES) === "encryption") {
      once(encryption);
      encryption = readEncryption(cursor);
    } else {
      cursor.skip();
      others.push({ start: entryStart, end: cursor.at });
    }
  }
  if (encryption === undefined) throw new MalformedError("no encryption");
  return { span: { start, end: cursor.at }, others, ...encryption };
}

function readEncryption(cursor: Cursor): Pick<Metadata, "keys" | "encryptionOthers"> {
  const encryptionOthers: Span[] = [];
  let keys: WrappedKey[] | undefined;
  const size = cursor.mapSize();
  if (size > MAX_ENTRIES) throw new MalformedError("too many entries");
  for (let i = 0; i < size; i++) {
    const entryStart = cursor.at;
    if (cursor.text(MAX_NAME_BYTES) === "keys") {
      once(keys);
      keys = readKeys(cursor);
    } else {
      cursor.skip();
      encryptionOthers.push({ start: entryStart, end: cursor.at });
    }
  }
  if (keys === undefined) throw new MalformedError("no keys");
  return { keys, encryptionOthers };
}

function readKeys(cursor: Cursor): WrappedKey[] {
  const count = cursor.arraySize();
  if (count > MAX_KEYS) throw new MalformedError("too many keys");
  const keys: WrappedKey[] = [];
  for (let i = 0; i < count; i++) keys.push(readKey(cursor));
  return keys;
}

function readKey(cursor: Cursor): WrappedKey {
  const start = cursor.at;
  let target: string | undefined;
  const size = cursor.mapSize();
  if (size > MAX_ENTRIES) throw new MalformedError("too many entries");
  for (let i = 0; i < size; i++) {
    if (cursor.text(MAX_NAME_BYTES) === "target") {
      once(target);
      target = cursor.text(MAX_ID_BYTES);
    } else {
      cursor.skip();
    }
  }
  if (target === undefined) throw new MalformedError("a key without a target");
  return { target, span: { start, end: cursor.at } };
}

function once(seen: unknown): void {
  if (seen !== undefined) throw new MalformedError("a duplicate name");
}

function isKind(kind: string): kind is Kind {
  return (
    kind === "broadcast" ||
    kind === "notification" ||
    kind === "request" ||
    kind === "response" ||
    kind === "response-error"
  );
}

function needsId(kind: Kind): boolean {
  return kind === "request" || kind === "response" || kind === "response-error";
}

// --- versions ---

/** Whether messages of a version are relayed. */
export type VersionCheck = (version: string) => boolean;

/** Cached results; few, because all messages of a client have the same version. */
const MAX_CACHED = 64;

/**
 * Accepts every version that is compatible with one of `versions`, which may be complete (`0.3.1`) or shortened (`0.3`,
 * `1`): 0.x requires the same minor version, 1 and later the same major version.
 */
export function createVersionCheck(versions: readonly string[]): VersionCheck {
  const accepted = new Set(
    versions.map((version) => {
      const [major = "", minor = ""] = version.split(".");
      return compatibilityOf(major, minor);
    }),
  );
  const cache = new Map<string, boolean>();
  return (version) => {
    const cached = cache.get(version);
    if (cached !== undefined) return cached;
    const parsed = parseVersion(version);
    const isAccepted = parsed !== null && accepted.has(compatibilityOf(parsed.major, parsed.minor));
    if (cache.size < MAX_CACHED) cache.set(version, isAccepted);
    return isAccepted;
  };
}

function compatibilityOf(major: number | string, minor: number | string): string {
  return String(major) === "0" ? `0.${minor}` : String(major);
}
