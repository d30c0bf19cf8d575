/**
 * The fields that balancers and workers say to each other, written once. A client never sees them: the balancer
 * strips every `x-ct-*` field of a client's request and of a worker's answer.
 */
import { timingSafeEqual } from "node:crypto";
import type { Incarnation, WorkerId } from "./ids.ts";
import { sign } from "./secret.ts";

/** What all of them start with. */
export const EDGE_FIELD_PREFIX = "x-ct-";

/** Balancer to worker: `edgeProof` of the worker that is meant. */
export const EDGE_FIELD = "x-ct-edge";
/**
 * Balancer to worker: the session key that a create came with (rule header or path; never a cookie), so that the worker
 * can record the alias. Worker to balancer, with 421: the session id that `x-ct-owner` speaks of.
 */
export const KEY_FIELD = "x-ct-key";
/**
 * Worker to balancer, with 421: the worker that owns the session, by its id or, for a balancer that knows addresses of a
 * fixed list only, by its `host:port`. Never a URL, and never called unless it is known already.
 */
export const OWNER_FIELD = "x-ct-owner";
/** Worker to balancer: the epoch of the session, with 421 and as a mark on handshake and 101 answers. */
export const EPOCH_FIELD = "x-ct-epoch";
/** Worker to balancer: a mark on handshake and 101 answers, the id of the session that the connection belongs to. */
export const SESSION_FIELD = "x-ct-session";

/** Where a balancer asks a worker, on its traffic port, whether it answers at all; it answers 204. */
export const PROBE_PATH = "/ct-edge/probe";
/** Balancer to worker, with a probe: which balancer asks, by its id. */
export const BALANCER_FIELD = "x-ct-balancer";
/** Balancer to worker, with a probe: whether the asking balancer reaches the store, `up` or `away`. */
export const STORE_FIELD = "x-ct-store";

/** The value of `x-ct-edge` for one incarnation of a worker: an HMAC, so the secret itself is never sent. */
export function edgeProof(edgeKey: Buffer, id: WorkerId, incarnation: Incarnation): string {
  return sign(edgeKey, `${id}\n${incarnation}`);
}

/** The value of `x-ct-edge` for a worker of a fixed list, of which nothing but its `host:port` there is known. */
export function addressProof(edgeKey: Buffer, address: string): string {
  return sign(edgeKey, address);
}

/** Whether `received` is `expected`, in constant time. */
export function isSameProof(received: string, expected: string): boolean {
  const a = Buffer.from(received);
  const b = Buffer.from(expected);
  return a.length === b.length && timingSafeEqual(a, b);
}
