/** Notices that the client of a request has gone. */
import type { FastifyReply } from "fastify";

/** Aborts when the connection closes before the response was written. */
export function abortOf(reply: FastifyReply): AbortSignal {
  const controller = new AbortController();
  if (reply.raw.destroyed) controller.abort();
  else reply.raw.once("close", () => controller.abort());
  return controller.signal;
}
