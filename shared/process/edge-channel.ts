/**
 * Messages between the edge and the processes that it starts, over the IPC channel. Both ends validate them: after an upgrade
 * on disk, a process may be newer than the edge that starts it.
 */
import { z } from "zod";

/**
 * What stops: `edge`, all processes of this machine's edge; `process`, only this one (a restart, or fewer workers).
 */
export type StopScope = "edge" | "process";

/** Messages from the edge. */
const edgeMessageSchema = z.discriminatedUnion("type", [
  /** A process that does not reply hangs. */
  z.object({ type: z.literal("ping") }),
  z.object({
    type: z.literal("stop"),
    // An edge of an older version does not send it, and kills its processes after 2 s, too early for a drain.
    scope: z.enum(["edge", "process"]).default("edge"),
    /** Other workers of this edge that keep running. */
    siblings: z.array(z.string()).default([]),
    /** Other workers of this edge that stop too. */
    ending: z.array(z.string()).default([]),
  }),
  /** Reply to `stop-wanted`: the edge will stop the process after other changes. */
  z.object({ type: z.literal("stop-queued") }),
  z.object({ type: z.literal("exited"), workerId: z.string() }),
  /** Why the edge as a whole is not ready for traffic; empty if it is. */
  z.object({ type: z.literal("not-ready"), reasons: z.array(z.string()) }),
  /** To a balancer that is being replaced: its successor is about to open the same ports. */
  z.object({ type: z.literal("release-ports") }),
  /** To a balancer on standby: its predecessor has released the ports. */
  z.object({ type: z.literal("open-ports") }),
]);
export type EdgeMessage = z.input<typeof edgeMessageSchema>;
export type ReceivedEdgeMessage = z.output<typeof edgeMessageSchema>;

const readySchema = z.object({
  type: z.literal("ready"),
  /** Balancer: public HTTP port. */
  httpPort: z.number().optional(),
  tlsPort: z.number().optional(),
  /** Worker: traffic port. */
  port: z.number().optional(),
  statusPort: z.number(),
});
/** Reported by a process when it is ready: its ports. */
export type ReadyReport = z.infer<typeof readySchema>;

/** Messages from a process. */
const processMessageSchema = z.discriminatedUnion("type", [
  readySchema,
  z.object({ type: z.literal("failed"), message: z.string() }),
  z.object({ type: z.literal("pong") }),
  /** The process got SIGTERM and asks the edge to stop it, because the edge stops one process at a time. */
  z.object({ type: z.literal("stop-wanted") }),
  z.object({ type: z.literal("draining"), sessions: z.number() }),
  /** `left`: sessions that no other worker has taken over. */
  z.object({ type: z.literal("drained"), left: z.number() }),
  z.object({ type: z.literal("standby") }),
  z.object({ type: z.literal("ports-released") }),
]);
export type ProcessMessage = z.infer<typeof processMessageSchema>;

/** Set to `1` in the environment of a balancer that must wait for `open-ports` before it opens its ports. */
export const STANDBY_VARIABLE = "CT_STANDBY";

/** Undefined for a message of another version or of another origin. */
export function parseEdgeMessage(message: unknown): ReceivedEdgeMessage | undefined {
  return edgeMessageSchema.safeParse(message).data;
}

export function parseProcessMessage(message: unknown): ProcessMessage | undefined {
  return processMessageSchema.safeParse(message).data;
}
