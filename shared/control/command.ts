/**
 * Commands of operators to processes of the edge, and their results. Commands go through the store, from any machine, and any
 * program that can write to the store can send them; each is a ticket that the addressed process answers.
 */
import { z } from "zod";
import {
  isPeerId,
  isSessionId,
  isWorkerName,
  type PeerId,
  type SessionId,
  type SessionKey,
  toSessionKey,
  type WorkerId,
} from "../base/ids.ts";

export type EdgeCommand =
  /** The worker keeps its sessions and gets no new ones. */
  | { readonly kind: "suspend" }
  /** The worker accepts new sessions again; a drain in progress stops. */
  | { readonly kind: "resume" }
  /** The worker hands over its sessions one by one and gets no new ones. It keeps running. */
  | { readonly kind: "drain" }
  /**
   * Moves up to `count` sessions to each of these workers, only sessions that have been idle for `idleMs`, and goes on taking
   * new ones. The answer's `detail` is how many it will move.
   */
  | {
      readonly kind: "migrate-idle";
      readonly moves: readonly { readonly worker: WorkerId; readonly count: number }[];
      readonly idleMs: number;
    }
  /** Closes a session permanently and notifies its peers. */
  | { readonly kind: "end-session"; readonly sessionId: SessionId }
  /** Removes a guest from a session and tells the others; the guest may ask to join again. */
  | { readonly kind: "remove-peer"; readonly sessionId: SessionId; readonly peerId: PeerId }
  /** Lets no new guests into a session, or does again. */
  | { readonly kind: "lock-session"; readonly sessionId: SessionId; readonly isLocked: boolean }
  /**
   * To a balancer: where it would send the request with this head, and why. `holder`: the owner that a worker without the
   * session would name. The `detail` of the result is an `Explanation`.
   */
  | { readonly kind: "explain"; readonly head: ExplainedHead; readonly holder?: WorkerId }
  /** To a balancer: the ring positions of these keys (`Ring.place`), at most `MAX_PLACES`, as the `detail` of the result. */
  | { readonly kind: "places"; readonly keys: readonly SessionKey[] }
  /** To the balancer that leads the orders of certificates: orders one now. Others refuse. */
  | { readonly kind: "renew-certificate" };

/** Which sessions a worker is to move, and where to. */
export type MoveRequest = Extract<EdgeCommand, { kind: "migrate-idle" }>;

/** Keys of one question; each place has 43 characters. */
export const MAX_PLACES = 500;

/** The head of a hypothetical request. Strings are bytes as latin1. */
export interface ExplainedHead {
  readonly method: string;
  readonly target: string;
  readonly fields: readonly { readonly name: string; readonly value: string }[];
}

/** The result of a command. `message` is for people, `detail` (any JSON) for the program that sent it. */
export interface CommandAnswer {
  readonly outcome: "done" | "refused";
  readonly message: string;
  readonly detail?: unknown;
}

const sessionId = z.custom<SessionId>((value) => typeof value === "string" && isSessionId(value));

const peerId = z.custom<PeerId>((value) => typeof value === "string" && isPeerId(value));
const sessionKey = z.custom<SessionKey>(
  (value) => typeof value === "string" && toSessionKey(value) !== undefined,
);
const workerName = z.custom<WorkerId>((value) => typeof value === "string" && isWorkerName(value));

/** More than a session key with its header. */
const MAX_HEAD_CHARS = 16_384;
const text = z.string().max(MAX_HEAD_CHARS);

const sessionMoves = z
  .array(z.object({ worker: workerName, count: z.number().int().min(1).max(1_000_000) }))
  .max(1000);
const idleTime = z.number().min(0).max(86_400_000);

// --- one version: `migrate-idle {moves, idleMs}` was `give {shares, calmMs}` ---

const giveSchema = z
  .object({ kind: z.literal("give"), shares: sessionMoves, calmMs: idleTime })
  .transform(({ shares, calmMs }) => ({
    kind: "migrate-idle" as const,
    moves: shares,
    idleMs: calmMs,
  }));

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
  z.object({ kind: z.literal("suspend") }),
  z.object({ kind: z.literal("resume") }),
  z.object({ kind: z.literal("drain") }),
  z.object({ kind: z.literal("migrate-idle"), moves: sessionMoves, idleMs: idleTime }),
  giveSchema,
  z.object({ kind: z.literal("end-session"), sessionId }),
  z.object({ kind: z.literal("remove-peer"), sessionId, peerId }),
  z.object({ kind: z.literal("lock-session"), sessionId, isLocked: z.boolean() }),
  z.object({
    kind: z.literal("explain"),
    head: z.object({
      method: text,
      target: text,
      fields: z.array(z.object({ name: text, value: text })).max(10),
    }),
    holder: workerName.exactOptional(),
  }),
  z.object({ kind: z.literal("places"), keys: z.array(sessionKey).max(MAX_PLACES) }),
  z.object({ kind: z.literal("renew-certificate") }),
]);

const answerSchema = z.object({
  outcome: z.enum(["done", "refused"]),
  message: z.string().max(1000),
  detail: z.unknown().optional(),
});

/** Parses a command from the store; undefined if it is invalid. */
export function parseCommand(value: unknown): EdgeCommand | undefined {
  return commandSchema.safeParse(value).data;
}

/** Parses a result from the store; undefined if it is invalid. */
export function parseAnswer(value: unknown): CommandAnswer | undefined {
  return answerSchema.safeParse(value).data;
}
