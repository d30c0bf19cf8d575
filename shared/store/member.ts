/**
 * One process's record in the store, as others see it, and the check of what was read.
 */
import { z } from "zod";
import { type Incarnation, isWorkerId, type WorkerId } from "../base/ids.ts";

/**
 * What a worker does with new sessions. `suspended`: keeps its sessions, gets no new ones. `draining`: hands its sessions
 * over and ends.
 */
export type WorkerState = "up" | "suspended" | "draining";

/** How busy a worker is, as it says itself once a beat. */
export interface WorkerLoad {
  /** Sessions that it hosts. */
  readonly sessions: number;
  /** Open sockets of peers. */
  readonly connections: number;
  /** Mean delay of its event loop since the last beat, in ms. */
  readonly lagMs: number;
}

/** A worker's record. Its lease is kept beside it by the store. */
export interface WorkerRecord {
  readonly kind: "worker";
  readonly id: WorkerId;
  readonly incarnation: Incarnation;
  /** Where balancers reach it: `http://host:port`, no path. */
  readonly url: string;
  /** Where its status port answers: `http://host:port`. */
  readonly statusUrl: string;
  readonly version: string;
  readonly zone: string;
  /** Share of new sessions relative to others; 1 is the norm. */
  readonly weight: number;
  readonly state: WorkerState;
  readonly load: WorkerLoad;
  /** Fingerprint of the ring as this worker sees it; empty before it has seen one. */
  readonly ringFingerprint: string;
  /** Of its `CT_SECRET` (shared/settings/secret.ts): processes with different ones are no use to each other. */
  readonly secretFingerprint: string;
}

/** A balancer's record: for views, commands and counts. */
export interface BalancerRecord {
  readonly kind: "balancer";
  readonly id: WorkerId;
  readonly incarnation: Incarnation;
  readonly statusUrl: string;
  readonly version: string;
  readonly ringFingerprint: string;
  readonly secretFingerprint: string;
}

export type MemberRecord = WorkerRecord | BalancerRecord;

const url = z
  .string()
  .max(256)
  .regex(/^http:\/\/[^/?#@\s]+$/);
const workerId = z.custom<WorkerId>((value) => typeof value === "string" && isWorkerId(value));
const incarnation = z.custom<Incarnation>(
  (value) => typeof value === "string" && /^[A-Za-z0-9]{16}$/.test(value),
);

const secretFingerprint = z.string().regex(/^[0-9a-f]{8}$/);

const workerSchema = z.object({
  kind: z.literal("worker"),
  id: workerId,
  incarnation,
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
  }),
  ringFingerprint: z.string().max(64),
  secretFingerprint,
});

const balancerSchema = z.object({
  kind: z.literal("balancer"),
  id: workerId,
  incarnation,
  statusUrl: url,
  version: z.string().max(64),
  ringFingerprint: z.string().max(64),
  secretFingerprint,
});

const memberSchema = z.discriminatedUnion("kind", [workerSchema, balancerSchema]);

/** A record read from the store, checked; undefined when it is not one (whoever can write the store may be hostile). */
export function parseMember(value: unknown): MemberRecord | undefined {
  const parsed = memberSchema.safeParse(value);
  return parsed.success ? parsed.data : undefined;
}
