/**
 * Answers as values, and the ways to send one: to a request, to an upgrade, through Fastify. What is refused has the
 * protocol's own form: `{code, params, message}`, or a short text where its clients expect one.
 */
import type { ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import type { FastifyReply } from "fastify";
import type { SessionId } from "../../shared/base/ids.ts";
import {
  EPOCH_HEADER,
  FORMER_INCARNATION_HEADER,
  INCARNATION_HEADER,
  KEY_HEADER,
  OWNER_HEADER,
  SESSION_HEADER,
} from "../../shared/net/edge-headers.ts";
import { STATUS_CODES } from "../../shared/net/node-http.ts";

export interface Answer {
  readonly status: number;
  readonly fields: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Answers a request that is not granted, and counts it by its reason. */
export type Refuse = (reply: FastifyReply, reason: string, answer: Answer) => FastifyReply;

/** Go with every answer of the protocol's HTTP side: tokens are not for caches, and nothing here is to be guessed at. */
export const COMMON_HEADERS: Readonly<Record<string, string>> = {
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
};

export function textResponse(status: number, text: string): Answer {
  return { status, fields: { "content-type": "text/plain; charset=utf-8" }, body: text };
}

export function jsonResponse(status: number, value: unknown): Answer {
  const body = JSON.stringify(value);
  return { status, fields: { "content-type": "application/json; charset=utf-8" }, body };
}

/** The protocol's way to say what happened: clients know the code, people read the message. */
export function infoResponse(status: number, code: string, message: string): Answer {
  return jsonResponse(status, { code, params: [], message });
}

/** The session is another worker's: the balancer sends the request there, clients do not see this answer. */
export function misdirectedResponse(where: {
  readonly sessionId: SessionId;
  /** Its name as the balancer knows it. */
  readonly owner: string;
  readonly epoch: number;
}): Answer {
  const answer = infoResponse(421, "Misdirected", "Another worker has this session");
  const fields = {
    ...answer.fields,
    [OWNER_HEADER]: where.owner,
    [EPOCH_HEADER]: String(where.epoch),
    [KEY_HEADER]: where.sessionId,
  };
  return { ...answer, fields };
}

/**
 * The request was meant for a worker that had this address before, or for an earlier incarnation of this one: there is no
 * owner to name. `proof`: the worker that is here (`incarnationProof`).
 */
export function wrongWorkerResponse(proof: string): Answer {
  const answer = infoResponse(421, "Misdirected", "Another worker was meant");
  return {
    ...answer,
    fields: { ...answer.fields, [INCARNATION_HEADER]: proof, [FORMER_INCARNATION_HEADER]: proof },
  };
}

/** From which the balancer learns, without a look-up, where the session is. */
export function sessionMarks(session: {
  readonly id: SessionId;
  readonly epoch: number;
}): Record<string, string> {
  return { [SESSION_HEADER]: session.id, [EPOCH_HEADER]: String(session.epoch) };
}

// --- sending ---

/** Answers a request that Fastify has not seen. `more`: fields beside the answer's own. */
export function sendResponse(
  res: ServerResponse,
  answer: Answer,
  more: Readonly<Record<string, string>> = {},
): void {
  const length = String(Buffer.byteLength(answer.body));
  res.writeHead(answer.status, {
    ...COMMON_HEADERS,
    ...more,
    ...answer.fields,
    "content-length": length,
  });
  res.end(answer.body);
}

/** Answers an upgrade that is not taken, and ends the connection. */
export function refuseUpgrade(socket: Duplex, answer: Answer): void {
  const fields = {
    ...COMMON_HEADERS,
    ...answer.fields,
    "content-length": String(Buffer.byteLength(answer.body)),
    connection: "close",
  };
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
  const reason = STATUS_CODES[answer.status] ?? "";
  socket.end(`HTTP/1.1 ${answer.status} ${reason}\r\n${lines.join("")}\r\n${answer.body}`);
  // Whoever goes on sending is cut off; who reads has had the answer by then.
  socket.once("finish", () => socket.destroy());
}

export function replyWith(reply: FastifyReply, answer: Answer): FastifyReply {
  return reply.code(answer.status).headers(answer.fields).send(answer.body);
}
