/** Whether the client of a request still waits for its answer. */
import type { FastifyReply } from "fastify";

/** Aborts when the connection closes before the answer was written. */
export function abortOf(reply: FastifyReply): AbortSignal {
  const controller = new AbortController();
  if (reply.raw.destroyed) controller.abort();
  else reply.raw.once("close", () => controller.abort());
  return controller.signal;
}
