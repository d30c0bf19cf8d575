/**
 * Tickets with which a WebSocket is resumed on another worker. Its worker makes one when the peer is connected, its balancer
 * keeps it, and the session's next owner checks it: a ticket proves who the WebSocket's peer is, and that the session has moved
 * since. It is of use to balancers only, and each gets a new one with every move.
 */
import { z } from "zod";
import { peerIdSchema, sessionIdSchema } from "../../shared/base/id-schemas.ts";
import type { PeerId, SessionId } from "../../shared/base/ids.ts";
import { readJson } from "../../shared/base/json.ts";
import { isSameProof } from "../../shared/net/edge-headers.ts";
import { MAX_STREAM_NUMBER, MAX_TICKET_BYTES } from "../../shared/resume/frames.ts";
import { sign } from "../../shared/settings/secret.ts";

export interface ResumeTicket {
  readonly sessionId: SessionId;
  /** In which it was made: the session has a higher one when it has moved. */
  readonly epoch: number;
  readonly peerId: PeerId;
  /** Of the peer's room token. */
  readonly tokenId: string;
  /** socket.io's, of the client's connection. */
  readonly namespace: string;
  /** The number of the WebSocket. */
  readonly stream: number;
}

const schema = z.tuple([
  sessionIdSchema,
  z.number().int().nonnegative(),
  peerIdSchema,
  z.string().max(256),
  z.string().max(1024),
  z.number().int().positive().max(MAX_STREAM_NUMBER),
]);

/** `key`: known to all workers of the edge. */
export function signResumeTicket(key: Buffer, ticket: ResumeTicket): string {
  const { sessionId, epoch, peerId, tokenId, namespace, stream } = ticket;
  const fields = [sessionId, epoch, peerId, tokenId, namespace, stream];
  const text = Buffer.from(JSON.stringify(fields)).toString("base64url");
  return `${text}.${proofOf(key, text)}`;
}

/** Undefined when no worker of the edge has made it. */
export function readResumeTicket(
  keys: readonly Buffer[],
  value: unknown,
): ResumeTicket | undefined {
  if (typeof value !== "string" || value.length > MAX_TICKET_BYTES) return undefined;
  const dot = value.indexOf(".");
  const text = value.slice(0, dot);
  const proof = value.slice(dot + 1);
  const isProven = keys.some((key) => isSameProof(proof, proofOf(key, text)));
  if (dot < 0 || !isProven) return undefined;
  const fields = readJson(schema, Buffer.from(text, "base64url").toString("utf8"));
  if (fields === undefined) return undefined;
  const [sessionId, epoch, peerId, tokenId, namespace, stream] = fields;
  return { sessionId, epoch, peerId, tokenId, namespace, stream };
}

function proofOf(key: Buffer, text: string): string {
  return sign(key, `resume\n${text}`);
}
