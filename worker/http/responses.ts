/**
 * Answers as values, and the ways to send one: to a request, to an upgrade, through Fastify. What is refused has the
 * protocol's own form: `{code, params, message}`, or a short text where its clients expect one.
 */
import type { ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import type { FastifyReply } from "fastify";
import type { SessionId } from "../../shared/base/ids.ts";
import {
  EPOCH_FIELD,
  KEY_FIELD,
  LIFE_FIELD,
  OWNER_FIELD,
  SESSION_FIELD,
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
export const COMMON_FIELDS: Readonly<Record<string, string>> = {
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
};

export function textAnswer(status: number, text: string): Answer {
  return { status, fields: { "content-type": "text/plain; charset=utf-8" }, body: text };
}

export function jsonAnswer(status: number, value: unknown): Answer {
  const body = JSON.stringify(value);
  return { status, fields: { "content-type": "application/json; charset=utf-8" }, body };
}

/** The protocol's way to say what happened: clients know the code, people read the message. */
export function infoAnswer(status: number, code: string, message: string): Answer {
  return jsonAnswer(status, { code, params: [], message });
}

/** The session is another worker's: the balancer sends the request there, clients do not see this answer. */
export function misdirectedAnswer(where: {
  readonly sessionId: SessionId;
  /** Its name as the balancer knows it. */
  readonly owner: string;
  readonly epoch: number;
}): Answer {
  const answer = infoAnswer(421, "Misdirected", "Another worker has this session");
  const fields = {
    ...answer.fields,
    [OWNER_FIELD]: where.owner,
    [EPOCH_FIELD]: String(where.epoch),
    [KEY_FIELD]: where.sessionId,
  };
  return { ...answer, fields };
}

/**
 * The request was meant for a worker that had this address before, or for an earlier life of this one: there is no owner
 * to name. `life`: who is here (`x-ct-life`).
 */
export function wrongWorkerAnswer(life: string): Answer {
  const answer = infoAnswer(421, "Misdirected", "Another worker was meant");
  return { ...answer, fields: { ...answer.fields, [LIFE_FIELD]: life } };
}

/** From which the balancer learns, without a look-up, where the session is. */
export function sessionMarks(session: {
  readonly id: SessionId;
  readonly epoch: number;
}): Record<string, string> {
  return { [SESSION_FIELD]: session.id, [EPOCH_FIELD]: String(session.epoch) };
}

// --- sending ---

/** Answers a request that Fastify has not seen. `more`: fields beside the answer's own. */
export function sendAnswer(
  res: ServerResponse,
  answer: Answer,
  more: Readonly<Record<string, string>> = {},
): void {
  const length = String(Buffer.byteLength(answer.body));
  res.writeHead(answer.status, {
    ...COMMON_FIELDS,
    ...more,
    ...answer.fields,
    "content-length": length,
  });
  res.end(answer.body);
}

/** Answers an upgrade that is not taken, and ends the connection. */
export function refuseUpgrade(socket: Duplex, answer: Answer): void {
  const fields = {
    ...COMMON_FIELDS,
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
