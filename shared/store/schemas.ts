/**
 * The values of the store's contract: one schema each, for requests to the embedded store, for its journal, and for records in
 * Redis. Other versions and other programs write them too, so limits are wide. The types are inferred; store.ts exports them.
 */
import { z } from "zod";
import {
  incarnationSchema,
  peerIdSchema,
  sessionIdSchema,
  sessionKeySchema,
  workerIdSchema,
} from "../base/id-schemas.ts";
import { readJson } from "../base/json.ts";
import { userRecordSchema } from "./user-record.ts";

// --- parts ---

const text = z.string().max(65_536);
/** Any JSON value; `undefined` becomes null. */
export const jsonSchema: z.ZodType<unknown> = z.unknown().transform((value) => value ?? null);
/** In ms. */
export const timeSchema = z.number().nonnegative();
/** Of a token or a ticket. */
export const tokenSchema = z.string().min(1).max(4096);
export const ordinalSchema = z.number().int().nonnegative();
/** Of counters, and of values that are written once. */
export const nameSchema = z.string().regex(/^[A-Za-z0-9._/-]{1,200}$/);

// --- roles ---

/**
 * Jobs of one elected member. `reaper`: takes over abandoned sessions, writes the history. `statsd`: sends metrics. `autoscale`:
 * changes the number of workers (`ct-edge autoscale`). `webhooks`: delivers events to their receivers. `acme`: obtains
 * certificates.
 */
export const roleSchema = z.enum(["reaper", "statsd", "autoscale", "webhooks", "acme"]);
export type Role = z.infer<typeof roleSchema>;

// --- sessions ---

/** The claim to own a session: every change of a record compares owner *and* epoch. */
export const holderSchema = z.object({
  sessionId: sessionIdSchema,
  owner: workerIdSchema,
  epoch: z.number(),
});
export type Holder = Readonly<z.infer<typeof holderSchema>>;

/** The user who creates a session, for the quota. */
const userIdSchema = z.string().min(1).max(4096);

export const createSessionSchema = z.object({
  sessionId: sessionIdSchema,
  owner: workerIdSchema,
  incarnation: incarnationSchema,
  alias: sessionKeySchema.exactOptional(),
  userId: userIdSchema,
  maxPerUser: z.number().nonnegative(),
});
export type CreateSession = Readonly<z.infer<typeof createSessionSchema>>;

export const resumeSessionSchema = z.object({
  sessionId: sessionIdSchema,
  worker: workerIdSchema,
  incarnation: incarnationSchema,
  /** What the claimant has seen of the owner: its port refused a connection, or its process exited. */
  evidence: z.enum(["refused", "exited"]).exactOptional(),
  /** The owner's incarnation that the evidence is about; by default the present one. Does not count against a later one. */
  evidenceOf: incarnationSchema.exactOptional(),
});
export type ResumeSession = Readonly<z.infer<typeof resumeSessionSchema>>;

const sessionFields = {
  id: sessionIdSchema,
  owner: workerIdSchema,
  incarnation: incarnationSchema,
  /** Rises with each change of owner or incarnation. At least the store's time in ms, so that it rises over a flush too. */
  epoch: z.number().nonnegative(),
  userId: userIdSchema,
  /** The session key of the create request, if it had one. */
  alias: sessionKeySchema.exactOptional(),
  clock: ordinalSchema,
  /** Store time in ms. */
  createdMs: timeSchema,
  /** An operator lets no new guests in. */
  locked: z.literal(true).exactOptional(),
};

/** A session without its peers and revoked tokens, which have records of their own so that a join writes one. */
export const sessionHeadSchema = z.object({
  ...sessionFields,
  /**
   * `created`: the host has not connected yet. `open`: live. `released`: between two owners. `closed`: a tombstone.
   */
  state: z.enum(["created", "open", "released", "closed"]),
  /** With `released`: the worker that may resume it; undefined: any worker. */
  successor: workerIdSchema.exactOptional(),
  /** Whether the host has ever connected; the state of a released session does not show it. */
  opened: z.boolean(),
  /** With `closed`: expiry of the tombstone, in store time. */
  untilMs: timeSchema.exactOptional(),
});
export type SessionHead = Readonly<z.infer<typeof sessionHeadSchema>>;

/** The part of a peer that outlives its worker. */
export const peerSchema = z.object({
  id: peerIdSchema,
  host: z.boolean(),
  user: userRecordSchema,
  /** Base64 SPKI, as the client sent it. */
  publicKey: text,
  /** Name and version of the client program. */
  client: text,
  compression: z.array(z.string().max(64)).max(32).readonly(),
  /** `jti` of its room token. */
  tokenId: tokenSchema,
  /** Whether it has sent a message: then a take-over does not announce it again. */
  settled: z.boolean(),
});
export type PeerRecord = Readonly<z.infer<typeof peerSchema>>;

/** A session in the store: enough for another worker to take over. Documents are not stored; they are encrypted. */
export interface SessionRecord extends Omit<SessionHead, "opened" | "untilMs"> {
  readonly peers: readonly PeerRecord[];
  /** Token ids of peers who left, who cannot rejoin with them. */
  readonly revokedTokens: readonly string[];
}

/** An owner's copy of its session; see `reassertSession`. Peers are written one by one. */
export const reassertionSchema = z.object({
  ...sessionFields,
  /** `closed`: restores only the tombstone. */
  state: z.enum(["created", "open", "closed"]),
  revokedTokens: z.array(tokenSchema).max(1000).readonly(),
  /** Expiry of the revoked tokens, and of the tombstone of a closed session; store time. */
  untilMs: timeSchema,
});
export type Reassertion = Readonly<z.infer<typeof reassertionSchema>>;

/** What a holder changes of its session; see `changeSession`. */
export const sessionChangeSchema = z.discriminatedUnion("kind", [
  /**
   * To the successor `to`, or to the first worker that resumes it. Until it is resumed, the releasing worker still holds it and
   * may record changes of its peers.
   */
  z.object({ kind: z.literal("release"), to: workerIdSchema.optional() }),
  /** Its record becomes a tombstone until `untilMs` (store time). */
  z.object({ kind: z.literal("close"), untilMs: timeSchema }),
  /** The host has connected: from then on the session outlives its owner. Counts once in `HOSTED_COUNTER`. */
  z.object({ kind: z.literal("open") }),
  /** Whether new guests are refused. */
  z.object({ kind: z.literal("lock"), isLocked: z.boolean() }),
  /** Adds or replaces a peer: when it joins and when it is settled, never for messages. */
  z.object({ kind: z.literal("put-peer"), peer: peerSchema }),
  /** Removes a peer and revokes its token until `untilMs` (store time), so that it cannot rejoin with it. */
  z.object({ kind: z.literal("remove-peer"), peer: peerIdSchema, untilMs: timeSchema }),
  /** The next value of the session's clock (1, 2, …), which distinguishes the tokens of a user who joins twice. */
  z.object({ kind: z.literal("next-clock") }),
]);
export type SessionChange = Readonly<z.infer<typeof sessionChangeSchema>>;

// --- tickets ---

/**
 * `login`: a client polls for its user's token. `web-login`: that user is at an identity provider. `command`: an operator's
 * command to a member, whose id is the group. `acme`: the response to a challenge of a certificate authority.
 */
export const TICKET_KINDS = ["login", "join", "command", "web-login", "acme"] as const;
export const ticketKindSchema = z.enum(TICKET_KINDS);
export type TicketKind = z.infer<typeof ticketKindSchema>;

/** Any JSON value: who asks, for what; and the session or member that it is for, so that it is found by that. */
const ticketFields = { question: jsonSchema, group: z.string().max(4096).exactOptional() };

export const newTicketSchema = z.object({
  kind: ticketKindSchema,
  token: tokenSchema,
  ...ticketFields,
  ttlMs: z.number().positive(),
});
export type NewTicket = Readonly<z.infer<typeof newTicketSchema>>;

export const storedTicketSchema = z.object({
  ...ticketFields,
  expiresMs: timeSchema,
  /** An object, because an answer may be any JSON value. */
  answered: z.object({ answer: jsonSchema }).exactOptional(),
});
export type StoredTicket = Readonly<z.infer<typeof storedTicketSchema>>;

// --- sign-ins ---

/** Keys by which a sign-in is found. */
const MAX_SIGN_IN_KEYS = 4;
export const signInKeySchema = z.string().min(1).max(256);

const signInFields = {
  /** Rises with each write. */
  revision: ordinalSchema,
  /** By which it is found: short, and without secrets. */
  keys: z.array(signInKeySchema).max(MAX_SIGN_IN_KEYS).readonly(),
  data: jsonSchema,
};

export const signInSchema = z.object({ id: tokenSchema, ...signInFields });
export type StoredSignIn = Readonly<z.infer<typeof signInSchema>>;

export const newSignInSchema = z.object({
  id: tokenSchema,
  ...signInFields,
  /** Undefined: it is never due. */
  dueInMs: timeSchema.exactOptional(),
  ttlMs: z.number().positive(),
});
export type NewSignIn = Readonly<z.infer<typeof newSignInSchema>>;

export const journalledSignInSchema = z.object({
  ...signInFields,
  expiresMs: timeSchema,
  /** Undefined: never. */
  dueMs: timeSchema.exactOptional(),
});
export type JournalledSignIn = Readonly<z.infer<typeof journalledSignInSchema>>;

// --- texts by key ---

/** `view`: how a process sees the edge, for `ct-edge explain`. `usage`: a worker's people, sessions and connections. */
export const REPORT_KINDS = ["view", "usage"] as const;
export type ReportKind = (typeof REPORT_KINDS)[number];
export const MAX_REPORT_BYTES = 256 * 1024;
/** Characters of a value that is written once. */
export const MAX_AGREED_CHARS = 4096;
export const agreedTextSchema = z.string().max(MAX_AGREED_CHARS);

export const newValueSchema = z.discriminatedUnion("kind", [
  /** Written once: the first text stays, without expiry. */
  z.object({ kind: z.literal("agreed"), key: nameSchema, text: agreedTextSchema }),
  /** A revoked id, of a token or a sign-in, until its `exp` (wall time in ms). Of two times the later one counts. */
  z.object({ kind: z.literal("revoked"), key: tokenSchema, untilMs: timeSchema }),
  /** A member's report, which replaces its last one. */
  z.object({
    kind: z.enum(REPORT_KINDS),
    key: workerIdSchema,
    text: z.string().max(MAX_REPORT_BYTES),
    ttlMs: z.number().positive(),
  }),
]);
export type NewValue = Readonly<z.infer<typeof newValueSchema>>;
export const VALUE_KINDS = ["agreed", "revoked", ...REPORT_KINDS] as const;
export type ValueKind = NewValue["kind"];

// --- the history of ownership ---

const eventFields = {
  kind: z.enum(["created", "resumed", "released", "closed", "joined", "left", "returned"]),
  sessionId: sessionIdSchema,
  worker: workerIdSchema,
  epoch: z.number(),
  /** The reason: `lease-gone`, `host left`, … */
  cause: z.string().max(1024),
};
/** One line of the history of ownership. */
export const eventSchema = z.object(eventFields);
export type EdgeEvent = Readonly<z.infer<typeof eventSchema>>;

export const storedEventSchema = z.object({
  ...eventFields,
  /** Store time in ms. */
  atMs: timeSchema,
});
export type StoredEvent = Readonly<z.infer<typeof storedEventSchema>>;

/** Undefined when `json` is no event. */
export function parseEvent(json: string): EdgeEvent | undefined {
  return readJson(eventSchema, json);
}
