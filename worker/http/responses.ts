/**
 * HTTP responses as values, and the ways to send one: to a request, to an upgrade, through Fastify. Errors have the
 * protocol's form, `{code, params, message}`, or are a short text where its clients expect one.
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

export interface HttpResponse {
  readonly status: number;
  readonly fields: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Sends an error response, and counts it by its reason. */
export type Refuse = (reply: FastifyReply, reason: string, response: HttpResponse) => FastifyReply;

/** On every response of the protocol's HTTP API: caches must not keep tokens, and browsers must not guess types. */
export const COMMON_HEADERS: Readonly<Record<string, string>> = {
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
};

export function textResponse(status: number, text: string): HttpResponse {
  return { status, fields: { "content-type": "text/plain; charset=utf-8" }, body: text };
}

export function jsonResponse(status: number, value: unknown): HttpResponse {
  const body = JSON.stringify(value);
  return { status, fields: { "content-type": "application/json; charset=utf-8" }, body };
}

/** The protocol's form of a message: clients know the code, people read the message. */
export function infoResponse(status: number, code: string, message: string): HttpResponse {
  return jsonResponse(status, { code, params: [], message });
}

/** 421 for a session of another worker: the balancer sends the request there, so clients do not see this response. */
export function misdirectedResponse(where: {
  readonly sessionId: SessionId;
  /** Its name as the balancer knows it. */
  readonly owner: string;
  readonly epoch: number;
}): HttpResponse {
  const response = infoResponse(421, "Misdirected", "Another worker has this session");
  const fields = {
    ...response.fields,
    [OWNER_HEADER]: where.owner,
    [EPOCH_HEADER]: String(where.epoch),
    [KEY_HEADER]: where.sessionId,
  };
  return { ...response, fields };
}

/**
 * 421 for a request to a worker that had this address before, or to an earlier incarnation of this one: there is no owner to
 * name. `proof`: the worker that has the address now (`incarnationProof`).
 */
export function wrongWorkerResponse(proof: string): HttpResponse {
  const response = infoResponse(421, "Misdirected", "The request is for another worker");
  const marks = { [INCARNATION_HEADER]: proof, [FORMER_INCARNATION_HEADER]: proof };
  return { ...response, fields: { ...response.fields, ...marks } };
}

/** Headers from which the balancer learns, without a lookup, which session the response belongs to. */
export function sessionMarks(session: {
  readonly id: SessionId;
  readonly epoch: number;
}): Record<string, string> {
  return { [SESSION_HEADER]: session.id, [EPOCH_HEADER]: String(session.epoch) };
}

// --- sending ---

/** Responds to a request that Fastify has not seen. `extraHeaders`: beside the response's own. */
export function sendResponse(
  res: ServerResponse,
  response: HttpResponse,
  extraHeaders: Readonly<Record<string, string>> = {},
): void {
  const length = String(Buffer.byteLength(response.body));
  res.writeHead(response.status, {
    ...COMMON_HEADERS,
    ...extraHeaders,
    ...response.fields,
    "content-length": length,
  });
  res.end(response.body);
}

/** Responds to an upgrade that is refused, and closes the connection. */
export function refuseUpgrade(socket: Duplex, response: HttpResponse): void {
  const headers = {
    ...COMMON_HEADERS,
    ...response.fields,
    "content-length": String(Buffer.byteLength(response.body)),
    connection: "close",
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  const reason = STATUS_CODES[response.status] ?? "";
  socket.end(`HTTP/1.1 ${response.status} ${reason}\r\n${lines.join("")}\r\n${response.body}`);
  // A client that keeps sending is cut off; one that reads has the response by then.
  socket.once("finish", () => socket.destroy());
}

/** A file for spreadsheets, which browsers save. */
export function sendCsv(reply: FastifyReply, file: string, csv: string): FastifyReply {
  reply.header("content-disposition", `attachment; filename="${file}"`);
  return reply.header("content-type", "text/csv; charset=utf-8").send(csv);
}

/** Aborts when the connection closes before the response was written: the client has gone. */
export function abortOf(reply: FastifyReply): AbortSignal {
  const controller = new AbortController();
  if (reply.raw.destroyed) controller.abort();
  else reply.raw.once("close", () => controller.abort());
  return controller.signal;
}

export function replyWith(reply: FastifyReply, response: HttpResponse): FastifyReply {
  return reply.code(response.status).headers(response.fields).send(response.body);
}
