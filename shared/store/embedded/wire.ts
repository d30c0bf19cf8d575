/**
 * The protocol on the socket of the embedded store: one JSON value per line. A client sends `{id, op, args}` and gets
 * `{id, value}` or `{id, error}`, in the order of its requests; all clients get `{changes}`.
 */
import { z } from "zod";
import {
  incarnationSchema,
  peerIdSchema,
  sessionIdSchema,
  sessionKeySchema,
  workerIdSchema,
} from "../../base/id-schemas.ts";
import type { MemberRecord } from "../member.ts";
import { parseMember } from "../member.ts";
import { type Change, MAX_REPORT_BYTES, REPORT_KINDS, ROLES } from "../store.ts";
import { withNewCallNames } from "./format/old-names.ts";
import {
  agreedSchema,
  counterNameSchema,
  eventSchema,
  jsonSchema,
  peerSchema,
  signInFields,
  signInKeySchema,
  streamSchema,
  streamTextSchema,
  ticketKindSchema,
  timeSchema,
  tokenSchema,
  userIdSchema,
} from "./format/records.ts";
import type { Operation } from "./state/operations.ts";

/** The longest request line. Replies may be longer. */
export const MAX_REQUEST_BYTES = 1024 * 1024;

export interface Request<Name extends string = Operation> {
  readonly id: number;
  readonly op: Name;
  readonly args: readonly unknown[];
}

export type Reply =
  | { readonly id: number; readonly value?: unknown }
  /** The request is invalid; nothing was done. */
  | { readonly id: number; readonly error: string }
  | { readonly changes: readonly Change[] };

/** `refused`: an invalid request with an id, so that the client gets an error. Undefined: not from one of our clients. */
export function parseRequest(
  line: Buffer,
): Request | { readonly id: number; readonly refused: string } | undefined {
  const envelope = parseEnvelope(line);
  if (envelope === undefined) return undefined;
  const { id } = envelope;
  const { op, args } = withNewCallNames(envelope);
  if (!Object.hasOwn(ARGUMENTS, op)) return { id, refused: "unknown operation" };
  const operation = op as Operation;
  const parsed = ARGUMENTS[operation].safeParse(args);
  if (!parsed.success) return { id, refused: describeIssue(parsed.error) };
  return { id, op: operation, args: parsed.data };
}

/** Parses a line of the server; undefined when invalid. */
export function parseReply(line: Buffer): Reply | undefined {
  try {
    const value: unknown = JSON.parse(line.toString("utf8"));
    if (typeof value !== "object" || value === null) return undefined;
    if ("changes" in value && Array.isArray(value.changes)) return value as Reply;
    return "id" in value && typeof value.id === "number" ? (value as Reply) : undefined;
  } catch {
    return undefined;
  }
}

export function toLine(value: Request<string> | Reply): string {
  return `${JSON.stringify(value)}\n`;
}

const envelopeSchema = z.object({
  id: z.number(),
  op: z.string().max(64),
  args: z.array(z.unknown()).max(8),
});

function parseEnvelope(line: Buffer): z.infer<typeof envelopeSchema> | undefined {
  try {
    const parsed = envelopeSchema.safeParse(JSON.parse(line.toString("utf8")));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}

/** The place of the first problem, without the value, which may be a token. */
function describeIssue(error: z.ZodError): string {
  const issue = error.issues[0];
  return issue === undefined ? "invalid" : `${issue.code} at args.${issue.path.join(".")}`;
}

// --- arguments, by operation ---

const memberSchema = z.unknown().transform((value, context): MemberRecord => {
  const member = parseMember(value);
  if (member !== undefined) return member;
  context.addIssue({ code: "custom", message: "not a member" });
  return z.NEVER;
});

const holderSchema = z.object({
  sessionId: sessionIdSchema,
  owner: workerIdSchema,
  epoch: z.number(),
});

const createSchema = z.object({
  sessionId: sessionIdSchema,
  owner: workerIdSchema,
  incarnation: incarnationSchema,
  alias: sessionKeySchema.exactOptional(),
  userId: userIdSchema,
  maxPerUser: z.number().nonnegative(),
});

const resumeSchema = z.object({
  sessionId: sessionIdSchema,
  worker: workerIdSchema,
  incarnation: incarnationSchema,
  evidence: z.enum(["refused", "exited"]).exactOptional(),
  evidenceOf: incarnationSchema.exactOptional(),
});

const reassertionSchema = z.object({
  id: sessionIdSchema,
  owner: workerIdSchema,
  incarnation: incarnationSchema,
  epoch: z.number().nonnegative(),
  state: z.enum(["created", "open", "closed"]),
  userId: userIdSchema,
  alias: sessionKeySchema.exactOptional(),
  clock: z.number().int().nonnegative(),
  revokedTokens: z.array(tokenSchema).max(1000),
  createdMs: timeSchema,
  locked: z.literal(true).exactOptional(),
  untilMs: timeSchema,
});

const roleSchema = z.enum(ROLES);

const ticketSchema = z.object({
  kind: ticketKindSchema,
  token: tokenSchema,
  question: jsonSchema,
  group: z.string().max(4096).exactOptional(),
  ttlMs: z.number().positive(),
});

const signInSchema = z.object({
  id: tokenSchema,
  ...signInFields,
  dueInMs: timeSchema.exactOptional(),
  ttlMs: z.number().positive(),
});

const eventQuerySchema = z.object({
  limit: z.number().int().nonnegative(),
  sessionId: sessionIdSchema.exactOptional(),
});

const streamQuerySchema = z.object({
  after: z.string().max(64).exactOptional(),
  limit: z.number().int().nonnegative(),
});

const reportKindSchema = z.enum(REPORT_KINDS);

/** JSON has no undefined: an omitted argument arrives as null. */
const successorSchema = workerIdSchema.nullable().transform((to) => to ?? undefined);

const ARGUMENTS: Readonly<Record<Operation, z.ZodType<readonly unknown[]>>> = {
  timeMs: z.tuple([]),
  announce: z.tuple([memberSchema]),
  renew: z.tuple([memberSchema]),
  withdraw: z.tuple([workerIdSchema, incarnationSchema]),
  members: z.tuple([]),
  lead: z.tuple([roleSchema, workerIdSchema, z.number().positive()]),
  resign: z.tuple([roleSchema, workerIdSchema]),
  createSession: z.tuple([createSchema]),
  resumeSession: z.tuple([resumeSchema]),
  reassertSession: z.tuple([reassertionSchema]),
  findSession: z.tuple([sessionKeySchema]),
  sessionsOf: z.tuple([workerIdSchema]),
  owners: z.tuple([]),
  releaseSession: z.tuple([holderSchema, successorSchema]),
  closeSession: z.tuple([holderSchema, timeSchema]),
  openSession: z.tuple([holderSchema]),
  lockSession: z.tuple([holderSchema, z.boolean()]),
  putPeer: z.tuple([holderSchema, peerSchema]),
  removePeer: z.tuple([holderSchema, peerIdSchema, timeSchema]),
  nextClock: z.tuple([holderSchema]),
  putTicket: z.tuple([ticketSchema]),
  readTicket: z.tuple([ticketKindSchema, tokenSchema]),
  answerTicket: z.tuple([ticketKindSchema, tokenSchema, jsonSchema]),
  dropTicket: z.tuple([ticketKindSchema, tokenSchema]),
  ticketsOf: z.tuple([ticketKindSchema, z.string().max(4096)]),
  revokeToken: z.tuple([tokenSchema, timeSchema]),
  isTokenRevoked: z.tuple([tokenSchema]),
  putSignIn: z.tuple([signInSchema]),
  claimDueSignIns: z.tuple([z.number().int().nonnegative(), z.number().positive()]),
  findSignIn: z.tuple([tokenSchema]),
  signInsOf: z.tuple([signInKeySchema]),
  endSignIn: z.tuple([tokenSchema, timeSchema]),
  putIfAbsent: z.tuple([counterNameSchema, agreedSchema]),
  addToCounters: z.tuple([z.record(counterNameSchema, z.number())]),
  readCounters: z.tuple([z.string().max(200)]),
  appendEvent: z.tuple([eventSchema]),
  readEvents: z.tuple([eventQuerySchema]),
  appendToStream: z.tuple([streamSchema, z.array(streamTextSchema)]),
  readStream: z.tuple([streamSchema, streamQuerySchema]),
  report: z.tuple([
    reportKindSchema,
    workerIdSchema,
    z.string().max(MAX_REPORT_BYTES),
    z.number().positive(),
  ]),
  readReports: z.tuple([reportKindSchema]),
};
