/**
 * The border: bytes of a peer become a checked message, or nothing. Only what a worker reads is looked at; contents and
 * wrapped keys are places in the bytes. The protocol calls a session "room"; only here and in outbound.ts that word stands.
 */
import { decode } from "@msgpack/msgpack";
import { parse as parseVersion } from "semver";
import { Cursor, MalformedError, type Span } from "./msgpack.ts";

/**
 * The version in which the worker's own messages are written. Clients do not check it: what they compare with their own
 * is what `/api/meta` says, which is a setting.
 */
export const PROTOCOL_VERSION = "0.3.1";

export type Kind = "request" | "response" | "response-error" | "notification" | "broadcast";

/** A message of a peer, checked. The places are those in `bytes`. */
export interface Message {
  readonly bytes: Buffer;
  readonly kind: Kind;
  /** Whether the content is bytes: the protocol's only test for "encrypted". */
  readonly encrypted: boolean;
  /** Requests and notifications: for whom; `""` is the worker itself. */
  readonly target: string | undefined;
  /** Requests and responses: the id, a number or a string. */
  readonly id: Span | undefined;
  readonly content: Span;
  readonly metadata: Metadata;
  /** Name and value of the entries that are passed on as they are. */
  readonly others: readonly Span[];
}

export interface Metadata {
  /** The whole map. */
  readonly span: Span;
  /** The content's key, wrapped for each receiver. */
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

/** Why bytes are no message. */
export type Refusal = "malformed" | "version" | "kind";

/** Names and ids are shorter than this; longer ones are nobody's. */
const MAX_NAME_BYTES = 64;
const MAX_ID_BYTES = 128;
/** Entries of a message's own maps: the protocol has at most 8. */
const MAX_ENTRIES = 32;
/** As many as a session may have peers. */
const MAX_KEYS = 10_000;
/** A plain content is a join answer or a good-bye. */
const MAX_PLAIN_BYTES = 256 * 1024;

/** The message in `bytes`, or why there is none. Never throws, whatever the bytes are. */
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

/** The id of a response as text, or undefined when it is not a string: ours all are. */
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
    // What the walk allows and the decoder does not, such as `__proto__` as a name.
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
 * One name and value. A name that stands twice is refused: the worker would judge by one value and the receiver see the
 * other. Names that are not strings are refused too, because decoders turn them into strings.
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
      // A broadcast of msgpackr may carry an undefined target.
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
      // Overwritten in any case: what it claims does not matter.
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
  if (!cursor.isText() && !cursor.isNumber()) throw new MalformedError("an id of no known type");
  const span = cursor.skip();
  // Our own ids carry a peer's id within, so they are longer than any that a client makes.
  if (span.end - span.start > MAX_ID_BYTES * 4) throw new MalformedError("too long an id");
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
  if (target === undefined) throw new MalformedError("a key for nobody");
  return { target, span: { start, end: cursor.at } };
}

function once(seen: unknown): void {
  if (seen !== undefined) throw new MalformedError("the same name twice");
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

/** Verdicts that are remembered; few, because every message of a client carries the same version. */
const MAX_VERDICTS = 64;

/**
 * Accepts every version that is compatible with one of `versions`, which may be written in full (`0.3.1`) or as far as it
 * matters (`0.3`, `1`): 0.x needs the same minor version; from 1 on it is the same major version.
 */
export function createVersionCheck(versions: readonly string[]): VersionCheck {
  const accepted = new Set(
    versions.map((version) => {
      const [major = "", minor = ""] = version.split(".");
      return compatibilityOf(major, minor);
    }),
  );
  const verdicts = new Map<string, boolean>();
  return (version) => {
    const known = verdicts.get(version);
    if (known !== undefined) return known;
    const parsed = parseVersion(version);
    const verdict = parsed !== null && accepted.has(compatibilityOf(parsed.major, parsed.minor));
    if (verdicts.size < MAX_VERDICTS) verdicts.set(version, verdict);
    return verdict;
  };
}

function compatibilityOf(major: number | string, minor: number | string): string {
  return String(major) === "0" ? `0.${minor}` : String(major);
}
