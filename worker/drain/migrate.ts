/**
 * The word of a balancer that leaves (balancer/upstreams/migrate.ts): clients whose WebSockets lead through it are let go of, so that
 * they come back by another way.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { isWorkerId } from "../../shared/base/ids.ts";
import { BALANCER_HEADER, FAREWELL_PATH } from "../../shared/net/edge-headers.ts";
import { readAll } from "../http/read-all.ts";
import type { Sockets } from "../sessions/transport/socket.ts";

/** A balancer names those whose turn it is, some dozens at a time. */
const MAX_BYTES = 256 * 1024;

/** Whether the request is a balancer's own; a client's to the same path is one to an unknown path. */
export function isMigrateRequest({ method, url, headers }: IncomingMessage): boolean {
  const balancer = headers[BALANCER_HEADER];
  const isBalancer = typeof balancer === "string" && isWorkerId(balancer);
  return method === "POST" && url === FAREWELL_PATH && isBalancer;
}

/** Answers a farewell that a balancer vouches for. */
export async function handleMigrateRequest(
  sockets: Pick<Sockets, "letGo">,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
  const bytes = await readAll(req, MAX_BYTES);
  if (bytes !== undefined) sockets.letGo(bytes.toString("latin1").split("\n"));
  res.writeHead(bytes === undefined ? 413 : 204).end();
}
