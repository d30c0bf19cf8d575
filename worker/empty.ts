/** `ct-worker empty`: empties a running worker over its status port, before it is stopped. */
import { z } from "zod";
import { type Clock, sleep } from "../shared/base/clock.ts";
import { EdgeError } from "../shared/base/errors.ts";
import { askStatusPort, StatusPortError } from "../shared/process/ask-status-port.ts";

/** The worker was not emptied. The message says why, and what to do. */
export class NotEmptiedError extends EdgeError {
  readonly code = "EDGE_NOT_EMPTIED";
}

const POLL_MS = 250;

const stateSchema = z.object({ sessions: z.number(), isMoving: z.boolean() });
const refusalSchema = z.object({ error: z.string() });

/**
 * Resolves when the worker has no session. Rejects with `NotEmptiedError` when it refuses, when its drain has ended and left
 * some, and after `timeoutMs`. A busy worker may respond late to one request; the first one must reach it.
 */
export async function emptyWorker(
  statusUrl: string,
  { timeoutMs, clock }: { readonly timeoutMs: number; readonly clock: Clock },
): Promise<void> {
  const url = `${statusUrl}/prepare-downscale`;
  const untilMs = clock.nowMs() + timeoutMs;
  let state = await askTo(url, "POST");
  while (state.sessions > 0) {
    if (clock.nowMs() >= untilMs) throw left(state.sessions, `after ${timeoutMs / 1000} s`);
    if (!state.isMoving) throw left(state.sessions, "when its drain had ended");
    await sleep(clock, POLL_MS);
    try {
      state = await askTo(url, "GET");
    } catch (error) {
      if (!(error instanceof StatusPortError)) throw error;
    }
  }
}

function left(sessions: number, when: string): NotEmptiedError {
  return new NotEmptiedError(
    `${sessions} sessions were still on the worker ${when}; its stop tries again, within CT_DRAIN_TIMEOUT_MS`,
  );
}

async function askTo(url: string, method: "POST" | "GET"): Promise<z.infer<typeof stateSchema>> {
  const { status, body } = await askStatusPort(url, { method }).catch((error: unknown) => {
    if (method === "GET" || !(error instanceof StatusPortError)) throw error;
    throw new NotEmptiedError(`${error.message}; check that the worker runs, and CT_STATUS_PORT`);
  });
  const state = status === 200 ? stateSchema.safeParse(body).data : undefined;
  if (state !== undefined) return state;
  if (status === 404 || status === 405) {
    throw new NotEmptiedError(
      "the worker does not accept this; start it with CT_PREPARE_DOWNSCALE=local",
    );
  }
  const reason = refusalSchema.safeParse(body).data?.error ?? `status ${status}`;
  throw new NotEmptiedError(`the worker is not emptied: ${reason}`);
}
