/**
 * One version: accepts the names of the previous version in the journal and on the socket of the embedded store. After an
 * upgrade on disk, a process may be newer than the store that it connects to, or older.
 */
import type { SessionRecord } from "../../store.ts";

const OLD_OPERATIONS: Readonly<Record<string, string>> = {
  putIfAbsent: "agree",
  revokeToken: "buryToken",
  isTokenRevoked: "isTokenBuried",
};
const NEW_OPERATIONS = new Map(Object.entries(OLD_OPERATIONS).map(([name, old]) => [old, name]));

const OLD_RECORD_FIELDS: Readonly<Record<string, string>> = {
  successor: "heir",
  revokedTokens: "buriedTokens",
};
const NEW_RECORD_FIELDS = new Map(
  Object.entries(OLD_RECORD_FIELDS).map(([name, old]) => [old, name]),
);

interface Call {
  readonly op: string;
  readonly args: readonly unknown[];
}

/** A journal entry with its present names. */
export function withNewEntryNames(key: string, value: unknown): [key: string, value: unknown] {
  if (key.startsWith("buried/")) return [key.replace("buried/", "revoked/"), value];
  return [key, key.startsWith("session/") ? withNewRecordNames(value) : value];
}

/** A request with its present names. */
export function withNewCallNames({ op, args }: Call): Call {
  const name = NEW_OPERATIONS.get(op) ?? op;
  const [first, ...others] = args;
  if (name === "reassertSession") return { op: name, args: [withNewRecordNames(first), ...others] };
  const isOldReport = (name === "report" || name === "readReports") && first === "census";
  return { op: name, args: isOldReport ? ["usage", ...others] : args };
}

/** The call with its names of the previous version; undefined when those are the same. */
export function withOldCallNames({ op, args }: Call): Call | undefined {
  const [first, ...others] = args;
  if (Object.hasOwn(OLD_OPERATIONS, op)) return { op: OLD_OPERATIONS[op] ?? op, args };
  if (op === "reassertSession") {
    const old = withKeys(first, (key) => OLD_RECORD_FIELDS[key] ?? key);
    return { op, args: [old, ...others] };
  }
  const isUsage = (op === "report" || op === "readReports") && first === "usage";
  return isUsage ? { op, args: ["census", ...others] } : undefined;
}

/** A session record, or a part of it, with its present names; other values as they are. */
export function withNewRecordNames<T>(value: T): T {
  return withKeys(value, (key) => NEW_RECORD_FIELDS.get(key) ?? key);
}

/** A reply whose record has its present names. */
export function withNewReplyNames<T extends { readonly record: SessionRecord } | object>(
  reply: T,
): T {
  return "record" in reply ? { ...reply, record: withNewRecordNames(reply.record) } : reply;
}

function withKeys<T>(value: T, rename: (key: string) => string): T {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [rename(key), one])) as T;
}
