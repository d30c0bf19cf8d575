/**
 * Handles a balancer's migrate request (balancer/upstreams/migrate-clients.ts): clients whose WebSockets lead through that
 * balancer reconnect through another one.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { isWorkerId } from "../../shared/base/ids.ts";
import {
  BALANCER_HEADER,
  FORMER_MIGRATE_PATH,
  MIGRATE_PATH,
} from "../../shared/net/edge-headers.ts";
import { readAll } from "../http/bodies.ts";
import type { Sockets } from "../sessions/transport/socket.ts";

/** A balancer names some dozens of clients at a time. */
const MAX_BYTES = 256 * 1024;

/** Whether a balancer sent the request itself; a client's request to the path is one to an unknown path. */
export function isMigrateRequest({ method, url, headers }: IncomingMessage): boolean {
  const balancer = headers[BALANCER_HEADER];
  const isBalancer = typeof balancer === "string" && isWorkerId(balancer);
  const isPath = url === MIGRATE_PATH || url === FORMER_MIGRATE_PATH;
  return method === "POST" && isPath && isBalancer;
}

/** For a request that is authenticated as a balancer's. */
export async function handleMigrateRequest(
  sockets: Pick<Sockets, "letGo">,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
  const bytes = await readAll(req, MAX_BYTES);
  if (bytes !== undefined) sockets.letGo(bytes.toString("latin1").split("\n"));
  res.writeHead(bytes === undefined ? 413 : 204).end();
}
