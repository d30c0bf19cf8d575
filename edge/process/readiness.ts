/**
 * Checks that the edge answers a client's request, through the balancer, from a worker.
 */

import { type Clock, sleep } from "../../shared/base/clock.ts";
import { describeError, EdgeError } from "../../shared/base/errors.ts";
import { askProcess } from "../../shared/net/request-process.ts";

/** The edge does not answer although its processes are ready. */
class NotReadyError extends EdgeError {
  readonly code = "EDGE_NOT_READY";
}

const PROBE_PERIOD_MS = 50;
const PROBE_TIMEOUT_MS = 2000;
const DEADLINE_MS = 15_000;

/** Resolves when `baseUrl` answers a client's first request; rejects with `NotReadyError` after 15 s. */
export async function waitUntilAnswers(deps: { baseUrl: string; clock: Clock }): Promise<void> {
  const { clock } = deps;
  const endMs = clock.nowMs() + DEADLINE_MS;
  let last = "";
  while (clock.nowMs() < endMs) {
    try {
      const { status } = await askProcess(`${deps.baseUrl}/api/meta`, {
        headers: {},
        timeoutMs: PROBE_TIMEOUT_MS,
        keepConnection: false,
      });
      if (status === 200) return;
      last = `status ${status}`;
    } catch (error) {
      last = describeError(error);
    }
    await sleep(clock, PROBE_PERIOD_MS);
  }
  throw new NotReadyError(
    `the edge does not answer at ${deps.baseUrl} (${last}); see the log of its processes`,
  );
}
