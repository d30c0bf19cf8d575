/**
 * A host's decision about a join request, as it is stored in the request's ticket: written by the worker that owns the
 * session, read by any worker that gets the guest's poll.
 */
import { z } from "zod";
import { sessionIdSchema } from "../../../shared/base/id-schemas.ts";

const text = z.string().max(4096);

/** A peer as clients know it. */
const wirePeer = z.object({
  id: text,
  host: z.boolean(),
  name: text,
  email: text.exactOptional(),
  metadata: z.object({
    encryption: z.object({ publicKey: z.string().max(16_384) }),
    compression: z.object({ supported: z.array(text).max(32) }),
  }),
});

/** What the host shares: shown to the guest, never interpreted. */
export const workspaceSchema = z.object({
  name: text,
  folders: z.array(text).max(1000),
});

export const joinAnswerSchema = z.discriminatedUnion("accepted", [
  z.object({
    accepted: z.literal(true),
    sessionId: sessionIdSchema,
    roomToken: z.string().max(8192),
    workspace: workspaceSchema,
    host: wirePeer,
  }),
  z.object({ accepted: z.literal(false), code: z.enum(["JoinRejected", "JoinTimeout"]) }),
]);

export type JoinAnswer = z.infer<typeof joinAnswerSchema>;
export type WirePeer = z.infer<typeof wirePeer>;
export type Workspace = z.infer<typeof workspaceSchema>;
