/**
 * The word of a balancer that leaves to the workers: let go of these clients. A worker parts from them as in a drain; the end
 * of a tunnel by FIN alone loses what the worker writes, and what some clients say, until it has been noticed.
 */

import { EdgeError } from "../../shared/base/errors.ts";
import type { WorkerId } from "../../shared/base/ids.ts";
import { BALANCER_HEADER, EDGE_HEADER, FAREWELL_PATH } from "../../shared/net/edge-headers.ts";
import { askProcess } from "../../shared/net/request-process.ts";
import type { Upstream } from "./upstream.ts";

/**
 * Asks `worker` to let go of the clients whose WebSockets were opened with these request ids. Resolves when it has taken the
 * word, whether or not it knows all of them; rejects when it does not answer so within `TIMEOUT_MS`.
 */
export type MigrateRequests = (
  worker: Pick<Upstream, "proof" | "record">,
  requestIds: readonly string[],
) => Promise<void>;

/** A worker that is this busy would not let go of anybody in time either. */
const TIMEOUT_MS = 1500;

/** A worker does not know the word, or does not take it from us. */
export class MigrateError extends EdgeError {
  readonly code = "EDGE_FAREWELL";
  readonly source = "upstream";
  readonly retryable = false;
  constructor(why: string) {
    super(`the worker does not let go of its clients: ${why}`);
  }
}

/** The word of the balancer `id`. */
export function createMigrateRequests(id: WorkerId): MigrateRequests {
  return async ({ proof, record }, requestIds) => {
    // Who is not vouched for is a client to it.
    if (proof === undefined) throw new MigrateError("there is no CT_SECRET");
    const { status } = await askProcess(`${record.url}${FAREWELL_PATH}`, {
      method: "POST",
      headers: { [EDGE_HEADER]: proof, [BALANCER_HEADER]: id },
      body: Buffer.from(requestIds.join("\n")),
      timeoutMs: TIMEOUT_MS,
      keepConnection: true,
    });
    if (status !== 204) throw new MigrateError(`status ${status}`);
  };
}
