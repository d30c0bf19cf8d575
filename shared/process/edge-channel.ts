/**
 * What the edge and the processes that it starts send each other over the IPC channel. Checked at both ends: after an
 * upgrade on disk, a process may be newer than the edge that starts it.
 */
import { z } from "zod";

/**
 * What ends: `edge`, all processes of this machine's edge; `process`, this one, while the others go on (a restart, or a
 * worker that is scaled away).
 */
export type StopScope = "edge" | "process";

/** From the edge. */
const edgeMessageSchema = z.discriminatedUnion("type", [
  /** A process that answers is not hung. */
  z.object({ type: z.literal("ping") }),
  z.object({
    type: z.literal("stop"),
    // An edge of an older version does not say it, and gives its processes 2 s: too little for a drain.
    scope: z.enum(["edge", "process"]).default("edge"),
    /** Other workers of this edge that go on. */
    siblings: z.array(z.string()).default([]),
    /** Other workers of this edge that end too. */
    ending: z.array(z.string()).default([]),
  }),
  /** The edge will stop the process, as it asked (`stop-wanted`), when other changes are done. */
  z.object({ type: z.literal("stop-queued") }),
  /** The process of another worker has ended. */
  z.object({ type: z.literal("exited"), workerId: z.string() }),
  /** Why the edge as a whole wants no traffic; empty when it does. */
  z.object({ type: z.literal("not-ready"), reasons: z.array(z.string()) }),
  /** To a balancer that is replaced: its successor is about to open the same ports. */
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
/** What a process reports when it can be used: its ports. */
export type ReadyReport = z.infer<typeof readySchema>;

/** From a process. */
const processMessageSchema = z.discriminatedUnion("type", [
  readySchema,
  z.object({ type: z.literal("failed"), message: z.string() }),
  z.object({ type: z.literal("pong") }),
  /** It got SIGTERM, and leaves to the edge when it ends: one process at a time. */
  z.object({ type: z.literal("stop-wanted") }),
  /** A worker begins to hand its sessions over. */
  z.object({ type: z.literal("draining"), sessions: z.number() }),
  /** `left`: sessions that no other worker has taken. */
  z.object({ type: z.literal("drained"), left: z.number() }),
  /** A balancer with `STANDBY_VARIABLE` waits for `open-ports`. */
  z.object({ type: z.literal("standby") }),
  z.object({ type: z.literal("ports-released") }),
]);
export type ProcessMessage = z.infer<typeof processMessageSchema>;

/** Set to `1` in the environment of a balancer that shall open its ports only when it is told to. */
export const STANDBY_VARIABLE = "CT_STANDBY";

/** Undefined: of another version, or no message of ours. */
export function parseEdgeMessage(message: unknown): ReceivedEdgeMessage | undefined {
  return edgeMessageSchema.safeParse(message).data;
}

export function parseProcessMessage(message: unknown): ProcessMessage | undefined {
  return processMessageSchema.safeParse(message).data;
}
