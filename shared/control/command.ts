/**
 * Commands of operators to processes of the edge, and their results. Commands go through the store, from any machine, and any
 * program that can write to the store can send them; each is a ticket that the addressed process answers.
 */
import { z } from "zod";
import {
  peerIdSchema,
  sessionIdSchema,
  sessionKeySchema,
  workerNameSchema,
} from "../base/id-schemas.ts";

/** More than a session key with its header. */
const MAX_HEAD_CHARS = 16_384;
const text = z.string().max(MAX_HEAD_CHARS);
/** Keys of one question; each place has 43 characters. */
export const MAX_PLACES = 500;

/** The head of a hypothetical request. Strings are bytes as latin1. */
const headSchema = z.object({
  method: text,
  target: text,
  fields: z
    .array(z.object({ name: text, value: text }))
    .max(10)
    .readonly(),
});
export type ExplainedHead = z.infer<typeof headSchema>;

const sessionMoves = z
  .array(z.object({ worker: workerNameSchema, count: z.number().int().min(1).max(1_000_000) }))
  .max(1000)
  .readonly();
const idleTime = z.number().min(0).max(86_400_000);

const moveSchema = z.object({
  kind: z.literal("migrate-idle"),
  moves: sessionMoves,
  idleMs: idleTime,
});
/** Which sessions a worker is to move, and where to. */
export type MoveRequest = z.infer<typeof moveSchema>;

// --- one version: `migrate-idle {moves, idleMs}` was `give {shares, calmMs}` ---

const giveSchema = z
  .object({ kind: z.literal("give"), shares: sessionMoves, calmMs: idleTime })
  .transform(
    ({ shares, calmMs }): MoveRequest => ({ kind: "migrate-idle", moves: shares, idleMs: calmMs }),
  );

/** A command as it is written to the store: in the old form, because workers of the version before know no other one. */
export function writeCommand(command: EdgeCommand, by?: Sender): unknown {
  const sender = by === undefined ? {} : { by };
  if (command.kind !== "migrate-idle") return { ...command, ...sender };
  return { kind: "give", shares: command.moves, calmMs: command.idleMs, ...sender };
}

/** The operator who has sent a command, for the audit log. */
export type Sender = z.infer<typeof senderSchema>;

const shortText = z.string().max(1000);
export const senderSchema = z.object({
  name: shortText,
  way: shortText.exactOptional(),
  address: shortText.exactOptional(),
});
const sentSchema = z.object({ by: senderSchema });

/** Undefined: the command does not say. */
export function senderOf(question: unknown): Sender | undefined {
  return sentSchema.safeParse(question).data?.by;
}

const commandSchema = z.discriminatedUnion("kind", [
  /** The worker keeps its sessions and gets no new ones. */
  z.object({ kind: z.literal("suspend") }),
  /** The worker accepts new sessions again; a drain in progress stops. */
  z.object({ kind: z.literal("resume") }),
  /** The worker hands over its sessions one by one and gets no new ones. It keeps running. */
  z.object({ kind: z.literal("drain") }),
  /**
   * Moves up to `count` sessions to each of these workers, only sessions that have been idle for `idleMs`, and goes on taking
   * new ones. The answer's `detail` is how many it will move.
   */
  moveSchema,
  giveSchema,
  /** Closes a session permanently and notifies its peers. */
  z.object({ kind: z.literal("end-session"), sessionId: sessionIdSchema }),
  /** Removes a guest from a session and tells the others; the guest may ask to join again. */
  z.object({ kind: z.literal("remove-peer"), sessionId: sessionIdSchema, peerId: peerIdSchema }),
  /** Lets no new guests into a session, or does again. */
  z.object({ kind: z.literal("lock-session"), sessionId: sessionIdSchema, isLocked: z.boolean() }),
  /**
   * To a balancer: where it would send the request with this head, and why. `holder`: the owner that a worker without the
   * session would name. The `detail` of the result is an `Explanation`.
   */
  z.object({
    kind: z.literal("explain"),
    head: headSchema,
    holder: workerNameSchema.exactOptional(),
  }),
  /** To a balancer: the ring positions of these keys (`Ring.place`), at most `MAX_PLACES`, as the `detail` of the result. */
  z.object({
    kind: z.literal("places"),
    keys: z.array(sessionKeySchema).max(MAX_PLACES).readonly(),
  }),
  /** To the balancer that leads the orders of certificates: orders one now. Others refuse. */
  z.object({ kind: z.literal("renew-certificate") }),
]);
export type EdgeCommand = z.output<typeof commandSchema>;

/** The result of a command. `message` is for people, `detail` (any JSON) for the program that sent it. */
const answerSchema = z.object({
  outcome: z.enum(["done", "refused"]),
  message: z.string().max(1000),
  detail: z.unknown().optional(),
});
export type CommandAnswer = Readonly<z.infer<typeof answerSchema>>;

/** Parses a command from the store; undefined if it is invalid. */
export function parseCommand(value: unknown): EdgeCommand | undefined {
  return commandSchema.safeParse(value).data;
}

/** Parses a result from the store; undefined if it is invalid. */
export function parseAnswer(value: unknown): CommandAnswer | undefined {
  return answerSchema.safeParse(value).data;
}
