/**
 * The protocol on the socket of the embedded store: one JSON value per line. A client sends `{id, op, args}` and gets
 * `{id, value}` or `{id, error}`, in the order of its requests; all clients get `{changes}`.
 */
import { z } from "zod";
import { incarnationSchema, sessionKeySchema, workerIdSchema } from "../../base/id-schemas.ts";
import { memberSchema } from "../member.ts";
import {
  createSessionSchema,
  holderSchema,
  jsonSchema,
  nameSchema,
  newSignInSchema,
  newTicketSchema,
  newValueSchema,
  ordinalSchema,
  REPORT_KINDS,
  reassertionSchema,
  resumeSessionSchema,
  roleSchema,
  sessionChangeSchema,
  signInKeySchema,
  ticketKindSchema,
  timeSchema,
  tokenSchema,
  VALUE_KINDS,
} from "../schemas.ts";
import type { Change } from "../store.ts";
import { isStreamText, STREAM_NAMES } from "../streams.ts";
import { fromOldCall } from "./format/old-names.ts";
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

/** A valid request; `toReply` turns its result into what the client of its version expects. */
export interface ParsedRequest extends Request {
  readonly toReply: (value: unknown) => unknown;
}

/** `refused`: an invalid request with an id, so that the client gets an error. Undefined: not from one of our clients. */
export function parseRequest(
  line: Buffer,
): ParsedRequest | { readonly id: number; readonly refused: string } | undefined {
  const envelope = parseEnvelope(line);
  if (envelope === undefined) return undefined;
  const { id } = envelope;
  const { op, args, toReply } = fromOldCall(envelope);
  if (!isOperation(op)) return { id, refused: "unknown operation" };
  const parsed = ARGUMENTS[op].safeParse(args);
  if (!parsed.success) return { id, refused: describeIssue(parsed.error) };
  return { id, op, args: parsed.data, toReply };
}

function isOperation(op: string): op is Operation {
  return Object.hasOwn(ARGUMENTS, op);
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

const reportKindSchema = z.enum(REPORT_KINDS);
const streamSchema = z.enum(STREAM_NAMES);
const signInQuerySchema = z.union([
  z.object({ id: tokenSchema }),
  z.object({ key: signInKeySchema }),
]);
const streamQuerySchema = z.object({
  after: z.string().max(64).exactOptional(),
  limit: ordinalSchema,
});

const ARGUMENTS: Readonly<Record<Operation, z.ZodType<readonly unknown[]>>> = {
  timeMs: z.tuple([]),
  announce: z.tuple([memberSchema]),
  renew: z.tuple([memberSchema]),
  withdraw: z.tuple([workerIdSchema, incarnationSchema]),
  members: z.tuple([]),
  lead: z.tuple([roleSchema, workerIdSchema, timeSchema]),
  createSession: z.tuple([createSessionSchema]),
  resumeSession: z.tuple([resumeSessionSchema]),
  reassertSession: z.tuple([reassertionSchema]),
  findSession: z.tuple([sessionKeySchema]),
  sessionsOf: z.tuple([workerIdSchema]),
  owners: z.tuple([]),
  changeSession: z.tuple([holderSchema, sessionChangeSchema]),
  putTicket: z.tuple([newTicketSchema]),
  readTicket: z.tuple([ticketKindSchema, tokenSchema]),
  answerTicket: z.tuple([ticketKindSchema, tokenSchema, jsonSchema]),
  dropTicket: z.tuple([ticketKindSchema, tokenSchema]),
  ticketsOf: z.tuple([ticketKindSchema, z.string().max(4096)]),
  put: z.tuple([newValueSchema]),
  get: z.tuple([z.enum(VALUE_KINDS), tokenSchema]),
  list: z.tuple([reportKindSchema]),
  putSignIn: z.tuple([newSignInSchema]),
  claimDueSignIns: z.tuple([ordinalSchema, z.number().positive()]),
  findSignIns: z.tuple([signInQuerySchema]),
  endSignIn: z.tuple([tokenSchema, timeSchema]),
  addToCounters: z.tuple([z.record(nameSchema, z.number())]),
  readCounters: z.tuple([z.string().max(200)]),
  appendToStream: z
    .tuple([streamSchema, z.array(z.string())])
    .refine(([stream, texts]) => texts.every((text) => isStreamText(stream, text))),
  readStream: z.tuple([streamSchema, streamQuerySchema]),
};

/** All operations of the contract. */
export const OPERATIONS = Object.keys(ARGUMENTS) as readonly Operation[];
