/**
 * One version: names that the journal and the socket of the embedded store had before. A journal of the version before is
 * read; a process may be older or newer than the store that it talks to, because an upgrade on disk does not end the edge.
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

/** An entry of the journal under the names of today. */
export function withNewEntryNames(key: string, value: unknown): [key: string, value: unknown] {
  if (key.startsWith("buried/")) return [key.replace("buried/", "revoked/"), value];
  return [key, key.startsWith("session/") ? withNewRecordNames(value) : value];
}

/** A request of an older process under the names of today. */
export function withNewCallNames({ op, args }: Call): Call {
  const name = NEW_OPERATIONS.get(op) ?? op;
  const [first, ...others] = args;
  if (name === "reassertSession") return { op: name, args: [withNewRecordNames(first), ...others] };
  const isOldReport = (name === "report" || name === "readReports") && first === "census";
  return { op: name, args: isOldReport ? ["usage", ...others] : args };
}

/** The same call in the words of an older store; undefined when it has no other words for it. */
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

/** A session's record, or a part of it, under the names of today; another value as it is. */
export function withNewRecordNames<T>(value: T): T {
  return withKeys(value, (key) => NEW_RECORD_FIELDS.get(key) ?? key);
}

/** The record of a reply, of an older store too. */
export function withNewReplyNames<T extends { readonly record: SessionRecord } | object>(
  reply: T,
): T {
  return "record" in reply ? { ...reply, record: withNewRecordNames(reply.record) } : reply;
}

function withKeys<T>(value: T, rename: (key: string) => string): T {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [rename(key), one])) as T;
}
