/**
 * The records in the journal of the embedded store: their keys, and their schemas for reading. Members are not journalled
 * (state/leases.ts).
 */
import { z } from "zod";
import {
  incarnationSchema,
  peerIdSchema,
  sessionIdSchema,
  sessionKeySchema,
  workerIdSchema,
} from "../../../base/id-schemas.ts";
import type { PeerId, SessionId } from "../../../base/ids.ts";
import {
  type EdgeEvent,
  MAX_AGREED_CHARS,
  MAX_SIGN_IN_KEYS,
  type PeerRecord,
  type SessionRecord,
  type StoredEvent,
  type StoredSignIn,
  TICKET_KINDS,
  type TicketKind,
} from "../../store.ts";
import { MAX_STREAM_TEXT_CHARS, STREAM_NAMES, type StreamName } from "../../streams.ts";
import { userRecordSchema } from "../../user-record.ts";
import { withNewEntryNames } from "./old-names.ts";

/** Ids and tokens come last, because they may contain slashes. */
export const recordKey = {
  session: (id: SessionId) => `session/${id}`,
  peer: (id: SessionId, peer: PeerId) => `peer/${id}/${peer}`,
  left: (id: SessionId, tokenId: string) => `left/${id}/${tokenId}`,
  ticket: (kind: TicketKind, token: string) => `ticket/${kind}/${token}`,
  revoked: (tokenId: string) => `revoked/${tokenId}`,
  signIn: (id: string) => `sign-in/${id}`,
  agreed: (name: string) => `agreed/${name}`,
  counter: (name: string) => `counter/${name}`,
  event: (ordinal: number) => `event/${ordinal}`,
  stream: (stream: StreamName, ordinal: number) => `stream/${stream}/${ordinal}`,
} as const;

/** A session without its peers and revoked tokens, which have records of their own so that a join writes one. */
export interface SessionHead extends Omit<SessionRecord, "peers" | "revokedTokens"> {
  /** Whether the host has ever connected; the state of a released session does not show it. */
  readonly opened: boolean;
  /** With `closed`: expiry of the tombstone, in store time. */
  readonly untilMs?: number;
}

export interface StoredTicket {
  readonly question: unknown;
  readonly group?: string;
  readonly expiresMs: number;
  /** An object, because an answer may be any JSON value. */
  readonly answered?: { readonly answer: unknown };
}

export interface JournalledSignIn extends Omit<StoredSignIn, "id"> {
  readonly expiresMs: number;
  /** Undefined: never. */
  readonly dueMs?: number;
}

// --- schemas that requests share ---

const text = z.string().max(65_536);
/** Any JSON value; `undefined` becomes null. */
export const jsonSchema = z.unknown().transform((value) => value ?? null);
export const timeSchema = z.number().nonnegative();
export const tokenSchema = z.string().min(1).max(4096);
export const userIdSchema = z.string().min(1).max(4096);
export const counterNameSchema = z.string().regex(/^[A-Za-z0-9._/-]{1,200}$/);
export const agreedSchema = z.string().max(MAX_AGREED_CHARS);
export const ticketKindSchema = z.enum(TICKET_KINDS);
export const streamSchema = z.enum(STREAM_NAMES);
export const streamTextSchema = z.string().max(MAX_STREAM_TEXT_CHARS);
export const signInKeySchema = z.string().min(1).max(256);
export const signInFields = {
  revision: z.number().int().nonnegative(),
  keys: z.array(signInKeySchema).max(MAX_SIGN_IN_KEYS),
  data: jsonSchema,
};
const ordinalSchema = z.number().int().nonnegative();

export const peerSchema: z.ZodType<PeerRecord> = z.object({
  id: peerIdSchema,
  host: z.boolean(),
  user: userRecordSchema,
  publicKey: text,
  client: text,
  compression: z.array(z.string().max(64)).max(32),
  tokenId: tokenSchema,
  settled: z.boolean(),
});

const eventFields = {
  kind: z.enum(["created", "resumed", "released", "closed", "joined", "left", "returned"]),
  sessionId: sessionIdSchema,
  worker: workerIdSchema,
  epoch: z.number(),
  cause: z.string().max(1024),
};
export const eventSchema: z.ZodType<EdgeEvent> = z.object(eventFields);

// --- records read back ---

const headSchema: z.ZodType<SessionHead> = z.object({
  id: sessionIdSchema,
  owner: workerIdSchema,
  incarnation: incarnationSchema,
  epoch: z.number(),
  state: z.enum(["created", "open", "released", "closed"]),
  successor: workerIdSchema.exactOptional(),
  userId: userIdSchema,
  alias: sessionKeySchema.exactOptional(),
  clock: z.number().int().nonnegative(),
  createdMs: timeSchema,
  locked: z.literal(true).exactOptional(),
  opened: z.boolean(),
  untilMs: timeSchema.exactOptional(),
});

const ticketSchema: z.ZodType<StoredTicket> = z.object({
  question: jsonSchema,
  group: text.exactOptional(),
  expiresMs: timeSchema,
  answered: z.object({ answer: jsonSchema }).exactOptional(),
});

const signInSchema: z.ZodType<JournalledSignIn> = z.object({
  ...signInFields,
  expiresMs: timeSchema,
  dueMs: timeSchema.exactOptional(),
});

const storedEventSchema: z.ZodType<StoredEvent> = z.object({ ...eventFields, atMs: timeSchema });

/** A record read from the journal. */
export type Restored =
  | { readonly kind: "session"; readonly head: SessionHead }
  | { readonly kind: "peer"; readonly sessionId: SessionId; readonly peer: PeerRecord }
  | {
      readonly kind: "left";
      readonly sessionId: SessionId;
      readonly tokenId: string;
      readonly untilMs: number;
    }
  | {
      readonly kind: "ticket";
      readonly ticketKind: TicketKind;
      readonly token: string;
      readonly ticket: StoredTicket;
    }
  | { readonly kind: "revoked"; readonly tokenId: string; readonly untilMs: number }
  | { readonly kind: "sign-in"; readonly id: string; readonly signIn: JournalledSignIn }
  | { readonly kind: "agreed"; readonly name: string; readonly text: string }
  | { readonly kind: "counter"; readonly name: string; readonly count: number }
  | { readonly kind: "event"; readonly ordinal: number; readonly event: StoredEvent }
  | {
      readonly kind: "stream";
      readonly stream: StreamName;
      readonly ordinal: number;
      readonly text: string;
    };

/** Validates a record of the journal, which other programs may have written; undefined when invalid. */
export function parseRecord(readKey: string, readValue: unknown): Restored | undefined {
  const [key, value] = withNewEntryNames(readKey, readValue);
  const [kind, rest] = splitFirst(key);
  try {
    const parsed = parseKind(kind, rest, value);
    // A value that belongs under another key would be written under that one, and the bad one never deleted.
    return parsed !== undefined && keyOf(parsed) === key ? parsed : undefined;
  } catch (error) {
    if (error instanceof z.ZodError) return undefined;
    throw error;
  }
}

function parseKind(kind: string, rest: string, value: unknown): Restored | undefined {
  const [first, second] = splitFirst(rest);
  switch (kind) {
    case "session":
      return { kind, head: headSchema.parse(value) };
    case "peer":
      return { kind, sessionId: sessionIdSchema.parse(first), peer: peerSchema.parse(value) };
    case "left":
      return {
        kind,
        sessionId: sessionIdSchema.parse(first),
        tokenId: tokenSchema.parse(second),
        untilMs: timeSchema.parse(value),
      };
    case "ticket":
      return {
        kind,
        ticketKind: ticketKindSchema.parse(first),
        token: tokenSchema.parse(second),
        ticket: ticketSchema.parse(value),
      };
    case "revoked":
      return { kind, tokenId: tokenSchema.parse(rest), untilMs: timeSchema.parse(value) };
    case "sign-in":
      return { kind, id: tokenSchema.parse(rest), signIn: signInSchema.parse(value) };
    case "agreed":
      return { kind, name: counterNameSchema.parse(rest), text: agreedSchema.parse(value) };
    case "counter":
      return { kind, name: counterNameSchema.parse(rest), count: z.number().parse(value) };
    case "event":
      return {
        kind,
        ordinal: ordinalSchema.parse(Number(rest)),
        event: storedEventSchema.parse(value),
      };
    case "stream":
      return {
        kind,
        stream: streamSchema.parse(first),
        ordinal: ordinalSchema.parse(Number(second)),
        text: streamTextSchema.parse(value),
      };
    default:
      return undefined;
  }
}

function keyOf(record: Restored): string {
  switch (record.kind) {
    case "session":
      return recordKey.session(record.head.id);
    case "peer":
      return recordKey.peer(record.sessionId, record.peer.id);
    case "left":
      return recordKey.left(record.sessionId, record.tokenId);
    case "ticket":
      return recordKey.ticket(record.ticketKind, record.token);
    case "revoked":
      return recordKey.revoked(record.tokenId);
    case "sign-in":
      return recordKey.signIn(record.id);
    case "agreed":
      return recordKey.agreed(record.name);
    case "counter":
      return recordKey.counter(record.name);
    case "event":
      return recordKey.event(record.ordinal);
    case "stream":
      return recordKey.stream(record.stream, record.ordinal);
  }
}

/** `text` before and after its first slash. */
function splitFirst(text: string): [string, string] {
  const at = text.indexOf("/");
  return at === -1 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}
