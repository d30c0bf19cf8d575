/**
 * Opens a WebSocket and a long poll and leaves them idle, from the first moment on: what in front cuts idle connections shows
 * itself only by doing so. engine.io pings every 25 s, so nothing on a WebSocket is idle for longer; the poll of a sign-in
 * is silent for 30 s.
 */
import { z } from "zod";
import { readJson } from "../../../shared/base/json.ts";
import { inTime, LATE } from "../../../shared/base/time-limit.ts";
import type { HttpAnswer, Silence } from "../model/observations.ts";
import type { Target } from "../model/target.ts";
import { openWebSocket } from "./engine.ts";
import type { HttpProbe } from "./http.ts";

/** How long the edge lets a poll wait (worker/api/long-polls.ts). */
const LONG_POLL_MS = 30_000;
/** For the response, and for what in front measures a little later than the edge. */
const GRACE_MS = 100;

const initialResponse = z.object({ pollToken: z.string().min(1).max(512) });

interface Deps {
  readonly http: HttpProbe;
  /** For what must not be cut off half-way: the beginning of a sign-in. */
  readonly patient: HttpProbe;
  readonly target: Target;
  readonly signal: AbortSignal;
  /** Gets the token of the sign-in that is polled for. */
  readonly onToken: (token: string) => void;
}

/** Watches for `watchMs`. Never rejects. */
export async function watchSilence(deps: Deps, watchMs: number): Promise<readonly Silence[]> {
  return Promise.all([watchWebSocket(deps, watchMs), watchLongPoll(deps, watchMs)]);
}

async function watchWebSocket({ target, signal }: Deps, watchMs: number): Promise<Silence> {
  const opened = await openWebSocket(target, signal);
  if ("outcome" in opened) {
    return { what: "websocket", watchedMs: 0, end: { how: "not opened", detail: shortOf(opened) } };
  }
  const startMs = performance.now();
  const result = await inTime(opened.closed, watchMs + GRACE_MS, signal);
  const afterMs = performance.now() - startMs;
  opened.close();
  const end: Silence["end"] =
    result === LATE || signal.aborted
      ? { how: "open" }
      : { how: "cut", afterMs, detail: result.detail };
  return { what: "websocket", watchedMs: afterMs, end };
}

async function watchLongPoll({ http, patient, onToken }: Deps, watchMs: number): Promise<Silence> {
  const token = readToken(await patient.send("/api/login/initial", { method: "POST" }));
  if (typeof token !== "string") {
    const detail = shortOf(token.answer);
    return { what: "long poll", watchedMs: 0, end: { how: "not opened", detail } };
  }
  onToken(token);
  const startMs = performance.now();
  const giveUp = AbortSignal.timeout(Math.min(watchMs, LONG_POLL_MS) + 10 * GRACE_MS);
  const answer = await http.send(`/api/login/poll/${encodeURIComponent(token)}`, {
    method: "POST",
    timeoutMs: LONG_POLL_MS + 10_000,
    signal: giveUp,
    fresh: true,
  });
  const afterMs = performance.now() - startMs;
  return { what: "long poll", watchedMs: afterMs, end: endOf(answer, afterMs, giveUp.aborted) };
}

function endOf(answer: HttpAnswer, afterMs: number, hasGivenUp: boolean): Silence["end"] {
  if (answer.outcome === "response" && (answer.status === 204 || answer.status === 200)) {
    return { how: "answered", afterMs };
  }
  if (answer.outcome === "failed" && (hasGivenUp || answer.reason === "interrupted")) {
    return { how: "open" };
  }
  return { how: "cut", afterMs, detail: shortOf(answer) };
}

function readToken(answer: HttpAnswer): string | { readonly answer: HttpAnswer } {
  if (answer.outcome !== "response" || answer.status !== 200) return { answer };
  return readJson(initialResponse, answer.body)?.pollToken ?? { answer };
}

function shortOf(answer: HttpAnswer): string {
  return answer.outcome === "response" ? `status ${answer.status}` : answer.detail;
}
