/**
 * The fields that balancers and workers say to each other, written once. A client never sees them: the balancer
 * strips every `x-ct-*` field of a client's request and of a worker's answer.
 */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import type { Incarnation, WorkerId } from "../base/ids.ts";
import { sign } from "../settings/secret.ts";

/** What all of them start with. */
export const EDGE_HEADER_PREFIX = "x-ct-";

/** Balancer to worker: `edgeProof` of the worker that is meant. */
export const EDGE_HEADER = "x-ct-edge";
/**
 * Balancer to worker: the session key that a create came with (rule header or path; never a cookie), so that the worker
 * can record the alias. Worker to balancer, with 421: the session id that `x-ct-owner` speaks of.
 */
export const KEY_HEADER = "x-ct-key";
/**
 * Worker to balancer, with 421: the worker that owns the session, by its id or, for a balancer that knows addresses of a
 * fixed list only, by its `host:port`. Never a URL, and never called unless it is known already.
 */
export const OWNER_HEADER = "x-ct-owner";
/** Worker to balancer: the epoch of the session, with 421 and as a mark on handshake and 101 answers. */
export const EPOCH_HEADER = "x-ct-epoch";
/** Worker to balancer: a mark on handshake and 101 answers, the id of the session that the connection belongs to. */
export const SESSION_HEADER = "x-ct-session";

/**
 * Worker to balancer, with a 421 that names no owner: which worker has this address, and in which life (`incarnationProof`). A
 * balancer whose store is away has no other way to learn that one was started anew.
 */
export const INCARNATION_HEADER = "x-ct-life";

/** Where a balancer asks a worker, on its traffic port, whether it answers at all; it answers 204. */
export const PROBE_PATH = "/ct-edge/probe";
/**
 * Where a balancer that leaves asks a worker, by POST, to let go of clients whose WebSockets lead through it; the body has
 * the `x-request-id` with which each of them was opened, one in a line. The worker answers 204, and asks those of them that
 * it knows to come back by another way.
 */
export const FAREWELL_PATH = "/ct-edge/farewell";
/**
 * Where a balancer that does not reach the store asks a worker who the workers are. The answer is 200 with their records as
 * JSON and `x-ct-members` over it, or 503 when that worker does not know either.
 */
export const MEMBERS_PATH = "/ct-edge/members";
/** Balancer to worker, with a question for the members: text that was never used before, which the answer's proof is over. */
export const NONCE_HEADER = "x-ct-nonce";
/** Worker to balancer, with the members: `membersProof`. */
export const MEMBERS_PROOF_HEADER = "x-ct-members";
/** Balancer to worker, with a probe or a farewell: which balancer asks, by its id. */
export const BALANCER_HEADER = "x-ct-balancer";
/** Balancer to worker, with a probe: whether the asking balancer reaches the store, `up` or `away`. */
export const STORE_HEADER = "x-ct-store";
/** Goes with every request and its answer, so that a log line here and one there can be told to be the same request. */
export const REQUEST_ID_HEADER = "x-request-id";

/** The value of `x-ct-edge` for one incarnation of a worker: an HMAC, so the secret itself is never sent. */
export function edgeProof(edgeKey: Buffer, id: WorkerId, incarnation: Incarnation): string {
  return sign(edgeKey, `${id}\n${incarnation}`);
}

/** The value of `x-ct-edge` for a worker of a fixed list, of which nothing but its `host:port` there is known. */
export function addressProof(edgeKey: Buffer, address: string): string {
  return sign(edgeKey, address);
}

/**
 * The value of `x-ct-life`: the incarnation, and an HMAC that only a worker of this edge can make. It is over the proof that
 * was refused too, so that an answer to one balancer is no answer to another question.
 */
export function incarnationProof(
  edgeKey: Buffer,
  life: { readonly id: WorkerId; readonly incarnation: Incarnation },
  refusedProof: string,
): string {
  const { id, incarnation } = life;
  return `${incarnation}.${sign(edgeKey, `life\n${id}\n${incarnation}\n${refusedProof}`)}`;
}

/** The incarnation in `x-ct-life`, when it is the worker `id` that says so; else undefined. */
export function readIncarnation(
  edgeKey: Buffer,
  claim: { readonly field: unknown; readonly id: WorkerId; readonly refusedProof: string },
): Incarnation | undefined {
  const { field, id, refusedProof } = claim;
  if (typeof field !== "string") return undefined;
  const incarnation = field.slice(0, field.indexOf(".")) as Incarnation;
  return isSameProof(field, incarnationProof(edgeKey, { id, incarnation }, refusedProof))
    ? incarnation
    : undefined;
}

export function newNonce(): string {
  return randomBytes(18).toString("base64url");
}

export function isNonce(value: unknown): boolean {
  return typeof value === "string" && /^[A-Za-z0-9_-]{24}$/.test(value);
}

/** The value of `x-ct-members`: an HMAC over the question's nonce and the answer, so that an old answer is no answer now. */
export function membersProof(edgeKey: Buffer, nonce: string, body: Buffer): string {
  return createHmac("sha256", edgeKey)
    .update(`members\n${nonce}\n`)
    .update(body)
    .digest("base64url");
}

/** Whether `received` is `expected`, in constant time. */
export function isSameProof(received: string, expected: string): boolean {
  const a = Buffer.from(received);
  const b = Buffer.from(expected);
  return a.length === b.length && timingSafeEqual(a, b);
}
