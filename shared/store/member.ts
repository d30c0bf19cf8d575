/**
 * The record of a balancer or worker in the store, and its validation.
 */
import { z } from "zod";
import { incarnationSchema, workerIdSchema } from "../base/id-schemas.ts";

/**
 * Mean event-loop lag in ms from which on a worker is late: what it has takes longer than it should already, so it gets no
 * new sessions and, with CT_REBALANCE=idle, gives idle ones away.
 */
export const LATE_LOOP_MS = 50;

const url = z
  .string()
  .max(256)
  .regex(/^http:\/\/[^/?#@\s]+$/);
const secretFingerprint = z.string().regex(/^[0-9a-f]{8}$/);
const count = z.number().int().nonnegative();

const memberFields = {
  id: workerIdSchema,
  incarnation: incarnationSchema,
  /** The status port: `http://host:port`. */
  statusUrl: url,
  version: z.string().max(64),
  /** How many workers it finds are wanted (shared/autoscale); missing while it does not know. */
  wanted: z.number().int().min(1).max(10_000).optional(),
  /** Of the ring that it uses; empty before the first. */
  ringFingerprint: z.string().max(64),
  /** Of the secret that it uses (shared/settings/keyring.ts): processes without a common secret cannot work together. */
  secretFingerprint,
  /** Of the secret that it will use when all members know it. */
  nextSecretFingerprint: secretFingerprint.optional(),
};

const stateSchema = z.enum(["up", "suspended", "draining"]);

/** A worker's load, updated with each heartbeat. */
const loadSchema = z.object({
  sessions: count,
  /** Open connections of peers. */
  connections: count,
  /** Mean event-loop lag since the last heartbeat, in ms. */
  lagMs: z.number().nonnegative(),
  /** CPU time per time over the last 10 s, 1 is one core; missing in records of the version before. */
  cpu: z.number().nonnegative().optional(),
});

const workerSchema = z.object({
  kind: z.literal("worker"),
  ...memberFields,
  /** Traffic from balancers: `http://host:port`, no path. */
  url,
  // One version: members of the version before need both, and all workers write the same.
  zone: z.string().max(64).default(""),
  weight: z.number().positive().max(100).default(1),
  state: stateSchema,
  load: loadSchema,
  /** Version of the links (shared/link) that it accepts; missing: none. */
  linkVersion: count.optional(),
  /** Version of the frames (shared/resume) with which it goes on with WebSockets of other workers; missing: it does not. */
  resumeVersion: count.optional(),
});

/** Used for status views, commands and counts only. */
const balancerSchema = z.object({ kind: z.literal("balancer"), ...memberFields });

export const memberSchema = z.discriminatedUnion("kind", [workerSchema, balancerSchema]);

/** `suspended`: keeps its sessions, gets no new ones. `draining`: hands its sessions over and exits. */
export type WorkerState = z.infer<typeof stateSchema>;
export type WorkerLoad = Readonly<z.infer<typeof loadSchema>>;
export type WorkerRecord = Readonly<z.infer<typeof workerSchema>>;
export type BalancerRecord = Readonly<z.infer<typeof balancerSchema>>;
export type MemberRecord = WorkerRecord | BalancerRecord;

/** Validates a record from the store, which other programs may have written; undefined when invalid. */
export function parseMember(value: unknown): MemberRecord | undefined {
  return memberSchema.safeParse(value).data;
}
