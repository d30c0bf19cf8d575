/**
 * Validates replies of scripts. Other programs may write to Redis, so an invalid value is omitted and counted; it is never
 * used, and never makes an operation fail.
 */
import { z } from "zod";
import { EdgeError } from "../../../base/errors.ts";
import { type MemberRecord, parseMember } from "../../member.ts";
import {
  type PeerRecord,
  peerSchema,
  type SessionRecord,
  sessionHeadSchema,
} from "../../schemas.ts";

/** A script returned an invalid reply: scripts and sources are of different versions, or a bug. */
export class StoreReplyError extends EdgeError {
  readonly code = "EDGE_STORE_REPLY";
  constructor() {
    super("a Redis script returned an invalid reply; this is a bug, please report it");
  }
}

export const repliesSchema = z.array(z.string());
/** Members: whether the store is settled, how many records were ignored, id and value of each other one. */
export const membersSchema = z.tuple([z.number(), z.number(), repliesSchema]);
/** A heartbeat: number of the last change; of each script 1 and its reply, or 0 and an error. */
export const heartbeatSchema = z.tuple([z.number()], z.array(z.unknown()));
/** A session: id, fields of its head, peers by id, tokens of those who left, how many parts were ignored. */
export const recordSchema = z.tuple([
  z.string(),
  z.array(z.string().nullable()),
  repliesSchema,
  repliesSchema,
  z.number(),
]);
type RecordReply = z.infer<typeof recordSchema>;

/** The reply parsed by `schema`. Throws `StoreReplyError`. */
export function expectReply<T>(schema: z.ZodType<T>, reply: unknown): T {
  const parsed = schema.safeParse(reply);
  if (!parsed.success) throw new StoreReplyError();
  return parsed.data;
}

/** `reply` as one of `words`. Throws `StoreReplyError`. */
export function expectWord<const Word extends string>(
  reply: unknown,
  words: readonly Word[],
): Word {
  const word = words.find((one) => one === reply);
  if (word === undefined) throw new StoreReplyError();
  return word;
}

/** A text. Throws `StoreReplyError`. */
export function expectText(reply: unknown): string {
  if (typeof reply !== "string") throw new StoreReplyError();
  return reply;
}

/** An array reply. Throws `StoreReplyError`. */
export function expectArray(reply: unknown): readonly unknown[] {
  if (!Array.isArray(reply)) throw new StoreReplyError();
  return reply;
}

/** The pairs of a flat reply. */
export function pairsOf(flat: readonly string[]): [string, string][] {
  const pairs: [string, string][] = [];
  for (let i = 0; i + 1 < flat.length; i += 2) pairs.push([flat[i] ?? "", flat[i + 1] ?? ""]);
  return pairs;
}

// --- members ---

const INCARNATION_CHARS = 16;

/** Stored as the incarnation, which scripts compare, followed by the record as JSON. Undefined unless it has that id. */
export function readMember(id: string, value: string): MemberRecord | undefined {
  const member = parseMember(parseJson(value.slice(INCARNATION_CHARS)));
  const isValid = member?.id === id && value.startsWith(member.incarnation);
  return isValid ? member : undefined;
}

// --- sessions ---

/** The fields of its hash, in the order of `FIELDS` in scripts/session.lua, and how each is read. */
const HEAD_FIELDS: readonly (readonly [field: string, read: (text: string) => unknown])[] = [
  ["owner", String],
  ["incarnation", String],
  ["epoch", readWhole],
  ["state", String],
  ["successor", String],
  ["userId", parseJson],
  ["alias", parseJson],
  ["clock", readWhole],
  ["createdMs", readWhole],
  ["opened", Boolean],
  ["turn", readWhole],
  ["locked", (text) => text === "1"],
];

function readWhole(text: string): number | undefined {
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/** Undefined when the head is invalid. `ignored`: invalid parts, which were omitted. */
export function readRecord(reply: RecordReply): {
  readonly record: SessionRecord | undefined;
  readonly ignored: number;
} {
  const [id, values, peers, left, ignored] = reply;
  const fields = HEAD_FIELDS.flatMap(([field, read], i) => {
    const value = values[i];
    return typeof value === "string" ? [[field, read(value)]] : [];
  });
  const head = sessionHeadSchema.safeParse({ opened: false, ...Object.fromEntries(fields), id });
  if (!head.success) return { record: undefined, ignored: ignored + 1 };
  const { opened: _opened, successor, ...stored } = head.data;
  const parsedPeers = readPeers(peers);
  const revokedTokens = left.map(parseJson).filter((token) => typeof token === "string");
  const record: SessionRecord = {
    ...stored,
    ...(successor !== undefined && stored.state === "released" && { successor }),
    peers: parsedPeers.peers,
    revokedTokens,
  };
  return { record, ignored: ignored + parsedPeers.ignored + left.length - revokedTokens.length };
}

/** Stored as its place in the order of joining, its token id, and the record as JSON, on a line each. */
function readPeers(flat: readonly string[]): { peers: PeerRecord[]; ignored: number } {
  const pairs = pairsOf(flat);
  const placed = pairs.flatMap(([id, value]) => {
    const match = /^(\d{1,15})\n[^\n]+\n([^\n]+)$/.exec(value);
    const parsed = peerSchema.safeParse(parseJson(match?.[2] ?? ""));
    return parsed.success && parsed.data.id === id
      ? [{ turn: Number(match?.[1]), peer: parsed.data }]
      : [];
  });
  placed.sort((a, b) => a.turn - b.turn);
  return { peers: placed.map(({ peer }) => peer), ignored: pairs.length - placed.length };
}

// --- JSON ---

/** Without `__proto__` keys; undefined when invalid. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text, (key, value: unknown) => (key === "__proto__" ? undefined : value));
  } catch {
    return undefined;
  }
}
