/**
 * What an operator may ask a member to do, and what comes of it. Commands go through the store, so whoever may write there
 * is obeyed, from any machine; each is a ticket that its member answers.
 */
import { z } from "zod";
import { isSessionId, type SessionId } from "../ids.ts";

export type EdgeCommand =
  /** Keeps its sessions, gets no new ones. */
  | { readonly kind: "suspend" }
  /** Takes new sessions again; a drain that is under way stops where it is. */
  | { readonly kind: "resume" }
  /** Hands its sessions over, one after the other, and gets no new ones. It goes on running. */
  | { readonly kind: "drain" }
  /** Ends a session for good; its peers are told. */
  | { readonly kind: "end-session"; readonly sessionId: SessionId };

/** What a member answers. `message` is for people. */
export interface CommandAnswer {
  readonly outcome: "done" | "refused";
  readonly message: string;
}

const sessionId = z.custom<SessionId>((value) => typeof value === "string" && isSessionId(value));

const commandSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("suspend") }),
  z.object({ kind: z.literal("resume") }),
  z.object({ kind: z.literal("drain") }),
  z.object({ kind: z.literal("end-session"), sessionId }),
]);

const answerSchema = z.object({
  outcome: z.enum(["done", "refused"]),
  message: z.string().max(1000),
});

/** A command as read from the store; undefined when it is none. */
export function parseCommand(value: unknown): EdgeCommand | undefined {
  return commandSchema.safeParse(value).data;
}

/** An answer as read from the store; undefined when it is none. */
export function parseAnswer(value: unknown): CommandAnswer | undefined {
  return answerSchema.safeParse(value).data;
}
