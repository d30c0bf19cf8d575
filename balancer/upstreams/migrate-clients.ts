/**
 * On shutdown, asks workers to migrate the WebSocket clients of this balancer: the worker makes them reconnect, with nothing
 * lost of what they send.
 */
import { EdgeError } from "../../shared/base/errors.ts";
import type { WorkerId } from "../../shared/base/ids.ts";
import {
  BALANCER_HEADER,
  EDGE_HEADER,
  FORMER_MIGRATE_PATH,
  MIGRATE_PATH,
} from "../../shared/net/edge-headers.ts";
import { askProcess } from "../../shared/net/request-process.ts";
import type { Upstream } from "./upstream.ts";

/**
 * Asks a worker to migrate the clients whose WebSockets were opened with these request ids. Resolves when it has begun;
 * rejects with `MigrateError`, or with an error of the connection.
 */
export type MigrateRequests = (
  worker: Pick<Upstream, "proof" | "record">,
  requestIds: readonly string[],
) => Promise<void>;

/** A worker busier than this would not migrate the clients in time either. */
const TIMEOUT_MS = 1500;

/** A worker does not support migrate requests, or does not accept ours. */
class MigrateError extends EdgeError {
  readonly code = "EDGE_MIGRATE";
  constructor(why: string) {
    super(`the worker does not migrate its clients: ${why}`);
  }
}

/** `id`: of this balancer. */
export function createMigrateRequests(id: WorkerId): MigrateRequests {
  return async ({ proof, record }, requestIds) => {
    // To the worker an unauthenticated balancer is a client.
    if (proof === undefined) throw new MigrateError("there is no CT_SECRET");
    const post = async (path: string): Promise<number> => {
      const { status } = await askProcess(`${record.url}${path}`, {
        method: "POST",
        headers: { [EDGE_HEADER]: proof, [BALANCER_HEADER]: id },
        body: Buffer.from(requestIds.join("\n")),
        timeoutMs: TIMEOUT_MS,
        keepConnection: true,
      });
      return status;
    };
    let status = await post(MIGRATE_PATH);
    // A worker of the version before.
    if (status === 404) status = await post(FORMER_MIGRATE_PATH);
    if (status !== 204) throw new MigrateError(`status ${status}`);
  };
}
