/**
 * Whether the edge really answers: a request of a client's kind, through the balancer, to a worker.
 */

import { type Clock, sleep } from "../../shared/base/clock.ts";
import { describeError, EdgeError } from "../../shared/base/errors.ts";
import { askProcess } from "../../shared/net/request-process.ts";

/** The edge did not answer in time after its processes had started. */
export class NotReadyError extends EdgeError {
  readonly code = "EDGE_NOT_READY";
  readonly source = "internal";
  readonly retryable = true;
}

const PROBE_PERIOD_MS = 50;
const PROBE_TIMEOUT_MS = 2000;
const DEADLINE_MS = 15_000;

/** Resolves when `baseUrl` answers a client's first question; rejects with `NotReadyError` after 15 s. */
export async function waitUntilAnswers(needs: { baseUrl: string; clock: Clock }): Promise<void> {
  const { clock } = needs;
  const endMs = clock.nowMs() + DEADLINE_MS;
  let last = "";
  while (clock.nowMs() < endMs) {
    try {
      const { status } = await askProcess(`${needs.baseUrl}/api/meta`, {
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
    `the edge does not answer at ${needs.baseUrl} (${last}); see the log for what its processes say`,
  );
}
