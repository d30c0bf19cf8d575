/** `ct-worker empty`: empties a running worker over its status port, before it is stopped. */
import { fetch } from "undici";
import { z } from "zod";
import { sleep, systemClock } from "../shared/base/clock.ts";
import { describeError, EdgeError } from "../shared/base/errors.ts";

/** The worker was not emptied. The message says why, and what to do. */
export class NotEmptiedError extends EdgeError {
  readonly code = "EDGE_NOT_EMPTIED";
  readonly source = "internal";
  readonly retryable = true;
}

const POLL_MS = 250;
const RESPONSE_MS = 5000;

const stateSchema = z.object({ sessions: z.number() });
const refusalSchema = z.object({ error: z.string() });

/** Resolves when the worker has no session; rejects with `NotEmptiedError` when it refuses, and after `timeoutMs`. */
export async function emptyWorker(statusUrl: string, timeoutMs: number): Promise<void> {
  const untilMs = systemClock.nowMs() + timeoutMs;
  let left = await ask(statusUrl, "POST");
  // The clock's timers are unref'ed: without this one the process would end while it waits.
  const keepAlive = setInterval(() => {}, POLL_MS);
  try {
    while (left > 0) {
      if (systemClock.nowMs() >= untilMs) {
        throw new NotEmptiedError(
          `${left} sessions are still on the worker; its stop hands them over, within CT_DRAIN_TIMEOUT_MS`,
        );
      }
      await sleep(systemClock, POLL_MS);
      left = await ask(statusUrl, "GET");
    }
  } finally {
    clearInterval(keepAlive);
  }
}

/** The number of sessions that are left. */
async function ask(statusUrl: string, method: "POST" | "GET"): Promise<number> {
  const url = `${statusUrl}/prepare-downscale`;
  let status: number;
  let body: unknown;
  try {
    const response = await fetch(url, { method, signal: AbortSignal.timeout(RESPONSE_MS) });
    status = response.status;
    body = await response.json();
  } catch (error) {
    // The message of a failed fetch says nothing; its cause does.
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    throw new NotEmptiedError(
      `${url}: ${describeError(cause)}; check that the worker runs, and CT_STATUS_PORT`,
    );
  }
  const state = status === 200 ? stateSchema.safeParse(body).data : undefined;
  if (state !== undefined) return state.sessions;
  if (status === 404 || status === 405) {
    throw new NotEmptiedError(
      "the worker does not accept this; start it with CT_PREPARE_DOWNSCALE=local",
    );
  }
  const reason = refusalSchema.safeParse(body).data?.error ?? `status ${status}`;
  throw new NotEmptiedError(`the worker is not emptied: ${reason}`);
}
