/**
 * The record of a balancer or worker in the store, and its validation.
 */
import { z } from "zod";
import { incarnationSchema, workerIdSchema } from "../base/id-schemas.ts";
import type { Incarnation, WorkerId } from "../base/ids.ts";

/** `suspended`: keeps its sessions, gets no new ones. `draining`: hands its sessions over and exits. */
export type WorkerState = "up" | "suspended" | "draining";

/** A worker's load, updated with each heartbeat. */
export interface WorkerLoad {
  readonly sessions: number;
  /** Open connections of peers. */
  readonly connections: number;
  /** Mean event-loop lag since the last heartbeat, in ms. */
  readonly lagMs: number;
  /** CPU time per time over the last 10 s, 1 is one core; missing in records of the version before. */
  readonly cpu?: number | undefined;
}

/**
 * Mean event-loop lag in ms from which on a worker is late: what it has takes longer than it should already, so it gets no
 * new sessions and, with CT_REBALANCE=idle, gives idle ones away.
 */
export const LATE_LOOP_MS = 50;

export interface WorkerRecord {
  readonly kind: "worker";
  readonly id: WorkerId;
  readonly incarnation: Incarnation;
  /** Traffic from balancers: `http://host:port`, no path. */
  readonly url: string;
  /** The status port: `http://host:port`. */
  readonly statusUrl: string;
  readonly version: string;
  readonly zone: string;
  /** Share of new sessions relative to other workers; 1 by default. */
  readonly weight: number;
  readonly state: WorkerState;
  readonly load: WorkerLoad;
  /** How many workers it finds are wanted (shared/autoscale); missing while it does not know. */
  readonly wanted?: number | undefined;
  /** Of the ring that this worker uses; empty before the first. */
  readonly ringFingerprint: string;
  /** Of the secret that it uses (shared/settings/keyring.ts): processes without a common secret cannot work together. */
  readonly secretFingerprint: string;
  /** Of the secret that it will use when all members know it. */
  readonly nextSecretFingerprint?: string | undefined;
  /** Version of the links (shared/link) that it accepts; missing: none. */
  readonly linkVersion?: number | undefined;
  /** Version of the frames (shared/resume) with which it goes on with WebSockets of other workers; missing: it does not. */
  readonly resumeVersion?: number | undefined;
}

/** Used for status views, commands and counts only. */
export interface BalancerRecord {
  readonly kind: "balancer";
  readonly id: WorkerId;
  readonly incarnation: Incarnation;
  readonly statusUrl: string;
  readonly version: string;
  /** As in `WorkerRecord`. */
  readonly wanted?: number | undefined;
  readonly ringFingerprint: string;
  readonly secretFingerprint: string;
  readonly nextSecretFingerprint?: string | undefined;
}

export type MemberRecord = WorkerRecord | BalancerRecord;

const url = z
  .string()
  .max(256)
  .regex(/^http:\/\/[^/?#@\s]+$/);
const secretFingerprint = z.string().regex(/^[0-9a-f]{8}$/);

const wanted = z.number().int().min(1).max(10_000).optional();

const workerSchema = z.object({
  kind: z.literal("worker"),
  id: workerIdSchema,
  incarnation: incarnationSchema,
  url,
  statusUrl: url,
  version: z.string().max(64),
  zone: z.string().max(64),
  weight: z.number().positive().max(100),
  state: z.enum(["up", "suspended", "draining"]),
  load: z.object({
    sessions: z.number().int().nonnegative(),
    connections: z.number().int().nonnegative(),
    lagMs: z.number().nonnegative(),
    cpu: z.number().nonnegative().optional(),
  }),
  wanted,
  ringFingerprint: z.string().max(64),
  secretFingerprint,
  nextSecretFingerprint: secretFingerprint.optional(),
  linkVersion: z.number().int().nonnegative().optional(),
  resumeVersion: z.number().int().nonnegative().optional(),
});

const balancerSchema = z.object({
  kind: z.literal("balancer"),
  id: workerIdSchema,
  incarnation: incarnationSchema,
  statusUrl: url,
  version: z.string().max(64),
  wanted,
  ringFingerprint: z.string().max(64),
  secretFingerprint,
  nextSecretFingerprint: secretFingerprint.optional(),
});

const memberSchema = z.discriminatedUnion("kind", [workerSchema, balancerSchema]);

/** Validates a record from the store, which other programs may have written; undefined when invalid. */
export function parseMember(value: unknown): MemberRecord | undefined {
  const parsed = memberSchema.safeParse(value);
  return parsed.success ? parsed.data : undefined;
}
