/**
 * One version: accepts the names of the previous version in the journal and on the socket of the embedded store. After an
 * upgrade on disk, a process may be newer than the store that it connects to, or older.
 */
import type { EdgeEvent, Holder, NewValue, SessionChange, StoredEvent } from "../../schemas.ts";
import type { StreamEntry } from "../../streams.ts";

const OLD_RECORD_FIELDS: Readonly<Record<string, string>> = {
  successor: "heir",
  revokedTokens: "buriedTokens",
};
const NEW_RECORD_FIELDS = new Map(
  Object.entries(OLD_RECORD_FIELDS).map(([name, old]) => [old, name]),
);
/** Changes of a session were operations of their own, with a holder and these arguments. */
const OLD_CHANGES: Readonly<
  Record<Exclude<SessionChange["kind"], "lock">, readonly [op: string, ...names: string[]]>
> = {
  release: ["releaseSession", "to"],
  close: ["closeSession", "untilMs"],
  open: ["openSession"],
  "put-peer": ["putPeer", "peer"],
  "remove-peer": ["removePeer", "peer", "untilMs"],
  "next-clock": ["nextClock"],
};
const NEW_CHANGES = new Map(
  Object.entries(OLD_CHANGES).map(([kind, [op, ...names]]) => [op, { kind, names }]),
);
/** Larger than any history. */
const ALL_EVENTS = 1_000_000;

interface Call {
  readonly op: string;
  readonly args: readonly unknown[];
}

/** A call in the words of another version, and its result in those of this one. */
interface Translated extends Call {
  readonly toReply: (value: unknown) => unknown;
}

// --- journal ---

/** A journal entry with its present names. */
export function withNewEntryNames(key: string, value: unknown): [key: string, value: unknown] {
  if (key.startsWith("buried/")) return [key.replace("buried/", "revoked/"), value];
  return [key, key.startsWith("session/") ? withNewRecordNames(value) : value];
}

/** A session record, or a part of it, with its present names; other values as they are. */
function withNewRecordNames<T>(value: T): T {
  return withKeys(value, (key) => NEW_RECORD_FIELDS.get(key) ?? key);
}

function withKeys<T>(value: T, rename: (key: string) => string): T {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [rename(key), one])) as T;
}

// --- requests of older clients ---

const same = (value: unknown): unknown => value;
const nothing = (): undefined => undefined;

/** `args` are unchecked: the schemas of today's operation check what they become. */
const OLD_CALLS: Readonly<Record<string, (...args: never[]) => Translated>> = {
  agree: (key: string, text: string) => put({ kind: "agreed", key, text }),
  buryToken: (key: string, untilMs: number) => put({ kind: "revoked", key, untilMs }, nothing),
  isTokenBuried: (key: string) => call("get", ["revoked", key], (text) => text !== undefined),
  report: (kind, key, text: string, ttlMs: number) =>
    put({ kind: newKind(kind), key, text, ttlMs }, nothing),
  readReports: (kind: string) => call("list", [newKind(kind)]),
  resign: (role, holder) => call("lead", [role, holder, 0], nothing),
  reassertSession: (reassertion) => call("reassertSession", [withNewRecordNames(reassertion)]),
  appendEvent: (event: EdgeEvent) => call("appendToStream", ["events", [JSON.stringify(event)]]),
  readEvents: (query?: EventQuery) =>
    call(
      "readStream",
      ["events", { limit: query?.sessionId === undefined ? query?.limit : ALL_EVENTS }],
      (entries) => toEvents(entries as readonly StreamEntry[], query),
    ),
};

/** A request as one of today; those of this version stay as they are. */
export function fromOldCall({ op, args }: Call): Translated {
  const translate = Object.hasOwn(OLD_CALLS, op) ? OLD_CALLS[op] : undefined;
  return translate?.(...(args as never[])) ?? fromOldChange(op, args) ?? call(op, args);
}

function fromOldChange(op: string, [holder, ...args]: readonly unknown[]): Translated | undefined {
  const change = NEW_CHANGES.get(op);
  if (change === undefined) return undefined;
  // JSON has no undefined: an omitted argument arrives as null.
  const values = change.names.map((name, i) => [name, args[i] ?? undefined]);
  return call("changeSession", [holder, { kind: change.kind, ...Object.fromEntries(values) }]);
}

function call(op: string, args: readonly unknown[], toReply = same): Translated {
  return { op, args, toReply };
}

function put(value: NewValue, toReply = same): Translated {
  return call("put", [value], toReply);
}

function newKind<Kind extends string>(kind: Kind): Kind | "usage" {
  return kind === "census" ? "usage" : kind;
}

interface EventQuery {
  readonly limit: number;
  readonly sessionId?: string;
}

function toEvents(entries: readonly StreamEntry[], query: EventQuery | undefined): StoredEvent[] {
  const { limit, sessionId } = query ?? { limit: 0 };
  const events = entries.map(({ text, atMs }): StoredEvent => ({ ...JSON.parse(text), atMs }));
  const wanted = events.filter((event) => event.sessionId === (sessionId ?? event.sessionId));
  return limit > 0 ? wanted.slice(-limit) : [];
}

// --- requests to an older store ---

/** The call in the words of the previous version; undefined when it has no others. */
export function toOldCall({ op, args }: Call): Translated | undefined {
  const [first] = args;
  switch (op) {
    case "put":
      return putInOldWords(first as NewValue);
    case "get":
      return first === "revoked"
        ? call("isTokenBuried", args.slice(1), (isBuried) => (isBuried === true ? "" : undefined))
        : undefined;
    case "list":
      return call("readReports", [oldKind(first as string)]);
    case "lead":
      return args[2] === 0 ? call("resign", args.slice(0, 2), () => "following") : undefined;
    case "reassertSession":
      return call(op, [withKeys(first, (key) => OLD_RECORD_FIELDS[key] ?? key)]);
    case "changeSession":
      return changeInOldWords(first as Holder, args[1] as SessionChange);
    case "appendToStream":
      return first === "events"
        ? call(
            "appendEvent",
            (args[1] as readonly string[]).map((text) => JSON.parse(text)),
          )
        : undefined;
    case "readStream":
      return first === "events" ? readOldEvents(args[1] as StreamQuery) : undefined;
    default:
      return undefined;
  }
}

function putInOldWords(value: NewValue): Translated {
  switch (value.kind) {
    case "agreed":
      return call("agree", [value.key, value.text]);
    case "revoked":
      return call("buryToken", [value.key, value.untilMs], () => "");
    case "view":
    case "usage":
      return call("report", [oldKind(value.kind), value.key, value.text, value.ttlMs], () => "");
  }
}

/** It has no locks of sessions. */
function changeInOldWords(holder: Holder, change: SessionChange): Translated | undefined {
  const { kind, ...values } = change;
  if (kind === "lock") return undefined;
  const [op, ...names] = OLD_CHANGES[kind];
  return call(op, [holder, ...names.map((name) => (values as Record<string, unknown>)[name])]);
}

interface StreamQuery {
  readonly after?: string;
  readonly limit: number;
}

/** Its events have no ids: their places count, which is good enough while none of them is dropped. */
function readOldEvents({ after, limit }: StreamQuery): Translated {
  return call("readEvents", [{ limit: ALL_EVENTS }], (events) => {
    const entries = (events as readonly StoredEvent[]).map(
      ({ atMs, ...event }, place): StreamEntry => ({
        id: `${place + 1}`,
        text: JSON.stringify(event),
        atMs,
      }),
    );
    if (after === undefined) return limit > 0 ? entries.slice(-limit) : [];
    return entries.slice(Number.parseInt(after, 10)).slice(0, limit);
  });
}

function oldKind(kind: string): string {
  return kind === "usage" ? "census" : kind;
}

/** A reply of an older store: a session record in it with its present names. */
export function withNewReplyNames(op: string, reply: unknown): unknown {
  if (op === "findSession") return withNewRecordNames(reply);
  const mayHave = op === "createSession" || op === "resumeSession";
  if (!mayHave || typeof reply !== "object" || reply === null) return reply;
  return "record" in reply ? { ...reply, record: withNewRecordNames(reply.record) } : reply;
}
