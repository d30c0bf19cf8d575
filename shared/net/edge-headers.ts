/**
 * Headers and paths of requests between balancers and workers. Clients never see them: the balancer strips every `x-ct-*`
 * header from a client's request and from a worker's response.
 */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import type { Incarnation, WorkerId } from "../base/ids.ts";
import { LINK_VERSION } from "../link/frames.ts";
import { sign } from "../settings/secret.ts";

/** Prefix of all of them. */
export const EDGE_HEADER_PREFIX = "x-ct-";

/** Balancer to worker: `edgeProof` of the intended worker. */
export const EDGE_HEADER = "x-ct-edge";
/**
 * Balancer to worker: the session key of a create (from the header or path, never from a cookie), which the worker records
 * as alias. Worker to balancer, with 421: the id of the session that `x-ct-owner` owns.
 */
export const KEY_HEADER = "x-ct-key";
/**
 * Worker to balancer, with 421: the worker that owns the session, by its id or, for a balancer with a fixed list of
 * addresses, by its `host:port`. Never a URL, and the balancer never connects to an address that it does not know.
 */
export const OWNER_HEADER = "x-ct-owner";
/** Worker to balancer: the epoch of the session, in 421, handshake and 101 responses. */
export const EPOCH_HEADER = "x-ct-epoch";
/** Worker to balancer: the id of the connection's session, in handshake and 101 responses. */
export const SESSION_HEADER = "x-ct-session";

/**
 * Worker to balancer, with a 421 that names no owner and with the 101 of a link: the worker at this address and its incarnation (`incarnationProof`). A
 * balancer that cannot reach the store has no other way to learn of a restart.
 */
export const INCARNATION_HEADER = "x-ct-incarnation";
/** The same in the version before; both are sent, and either is read, for one version. */
export const FORMER_INCARNATION_HEADER = "x-ct-life";

/** A balancer probes a worker here, on its traffic port; the response is 204. */
export const PROBE_PATH = "/ct-edge/probe";
/**
 * On its shutdown a balancer asks a worker here, by POST, to migrate clients whose WebSockets lead through it. The body has
 * the `x-request-id` with which each was opened, one per line. The worker answers 204 and makes those clients reconnect.
 */
export const MIGRATE_PATH = "/ct-edge/migrate";
/** The same in the version before; workers accept both, and balancers fall back to it, for one version. */
export const FORMER_MIGRATE_PATH = "/ct-edge/farewell";
/**
 * A balancer that cannot reach the store asks a worker here for the members. The response is 200 with their records as JSON
 * and `x-ct-members` over it, or 503 when the worker cannot tell either.
 */
export const MEMBERS_PATH = "/ct-edge/members";
/**
 * A balancer opens a link (shared/link) here, by an upgrade to `LINK_PROTOCOL`. The 101 response has `x-ct-incarnation`, by
 * which the balancer knows that it talks to the worker that it means.
 */
export const LINK_PATH = "/ct-edge/link";
export const LINK_PROTOCOL = `ct-link/${LINK_VERSION}`;
/** Balancer to worker, with a request for the members: a nonce that the response's proof covers. */
export const NONCE_HEADER = "x-ct-nonce";
/** Worker to balancer, with the members: `membersProof`. */
export const MEMBERS_PROOF_HEADER = "x-ct-members";
/** Balancer to worker, with a probe, a migrate request or the request for a link: the balancer's id. */
export const BALANCER_HEADER = "x-ct-balancer";
/** Balancer to worker, with the request for a link: the balancer's incarnation. */
export const BALANCER_INCARNATION_HEADER = "x-ct-balancer-incarnation";
/** Balancer to worker, with a probe: whether the balancer reaches the store, `up` or `away`. */
export const STORE_HEADER = "x-ct-store";
/**
 * Balancer to worker, with the upgrade to a WebSocket over a link: the balancer can resume it. Worker to balancer, with the
 * 101: it uses the frames of shared/resume. The value is `RESUME_VERSION`.
 */
export const RESUMABLE_HEADER = "x-ct-resumable";
/**
 * A balancer asks a worker here, by an upgrade to a WebSocket, to go on with one whose own worker has gone or has given its
 * session away.
 */
export const RESUME_PATH = "/ct-edge/resume";
/** Balancer to worker, with that: the ticket of the WebSocket, made by its former worker. */
export const RESUME_TICKET_HEADER = "x-ct-ticket";
/** Balancer to worker, with that: `resumeState`. */
export const RESUME_STATE_HEADER = "x-ct-resume";
/** In every request and its response, so that log lines of several processes can be matched. */
export const REQUEST_ID_HEADER = "x-request-id";

/** The value of `x-ct-edge` for one incarnation of a worker: an HMAC, so the secret itself is never sent. */
export function edgeProof(edgeKey: Buffer, id: WorkerId, incarnation: Incarnation): string {
  return sign(edgeKey, `${id}\n${incarnation}`);
}

/** The value of `x-ct-edge` for a worker of a fixed list, of which only the list's `host:port` is known. */
export function addressProof(edgeKey: Buffer, address: string): string {
  return sign(edgeKey, address);
}

/**
 * The value of `x-ct-incarnation`: the incarnation, and an HMAC that only a worker of this edge can make. It also covers the
 * rejected proof, so a response cannot be replayed to another request.
 */
export function incarnationProof(
  edgeKey: Buffer,
  self: { readonly id: WorkerId; readonly incarnation: Incarnation },
  refusedProof: string,
): string {
  const { id, incarnation } = self;
  return `${incarnation}.${sign(edgeKey, `life\n${id}\n${incarnation}\n${refusedProof}`)}`;
}

/** The incarnation in `x-ct-incarnation`, if the worker `id` made it; else undefined. */
export function readIncarnation(
  edgeKeys: readonly Buffer[],
  claim: { readonly field: unknown; readonly id: WorkerId; readonly refusedProof: string },
): Incarnation | undefined {
  const { field, id, refusedProof } = claim;
  if (typeof field !== "string") return undefined;
  const incarnation = field.slice(0, field.indexOf(".")) as Incarnation;
  const isProof = edgeKeys.some((edgeKey) =>
    isSameProof(field, incarnationProof(edgeKey, { id, incarnation }, refusedProof)),
  );
  return isProof ? incarnation : undefined;
}

/** Where a WebSocket that is resumed stands. */
export interface ResumeState {
  /** `crash`: its worker has gone, or has lost the session. `move`: the worker has given the session away. */
  readonly cause: "crash" | "move";
  /** Messages of the client that a worker has confirmed; what follows them is sent again. */
  readonly confirmed: number;
  /** Messages behind those that the former worker may have relayed. */
  readonly repeated: number;
  /** For how long it has had no worker, when the request is sent. */
  readonly forMs: number;
}

export function resumeState({ cause, confirmed, repeated, forMs }: ResumeState): string {
  return `${cause} ${confirmed} ${repeated} ${forMs}`;
}

/** Undefined when the value is malformed. */
export function readResumeState(value: unknown): ResumeState | undefined {
  const match = typeof value === "string" ? RESUME_STATE.exec(value) : null;
  if (match === null) return undefined;
  const [confirmed = 0, repeated = 0, forMs = 0] = match.slice(2).map(Number);
  if (confirmed > MAX_UINT32) return undefined;
  return { cause: match[1] === "move" ? "move" : "crash", confirmed, repeated, forMs };
}

const MAX_UINT32 = 0xffff_ffff;
const RESUME_STATE = /^(crash|move) (\d{1,10}) (\d{1,6}) (\d{1,9})$/;

export function newNonce(): string {
  return randomBytes(18).toString("base64url");
}

export function isNonce(value: unknown): boolean {
  return typeof value === "string" && /^[A-Za-z0-9_-]{24}$/.test(value);
}

/** The value of `x-ct-members`: an HMAC over the request's nonce and the response, so an old response cannot be replayed. */
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
