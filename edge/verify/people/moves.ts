/** Watches a session while it moves to another worker: two people talk all the time, and nothing they say may be lost. */
import type { WorkerTag } from "../../../shared/base/worker-tag.ts";
import type { OpenSession } from "./sessions.ts";

export type Move =
  | {
      readonly outcome: "moved";
      readonly from: WorkerTag;
      readonly to: WorkerTag;
      /** The longest time for which the other heard nothing. */
      readonly pauseMs: number;
      readonly disconnects: number;
      readonly said: number;
      readonly lost: number;
    }
  | { readonly outcome: "stayed"; readonly waitedMs: number }
  /** The people did not hear each other any more. */
  | { readonly outcome: "silent"; readonly detail: string };

const PERIOD_MS = 50;
const POLL_MS = 200;
/** To hear the last of what was said. */
const SETTLE_MS = 2000;

/** `ownerOf`: the worker that serves the session now; undefined while it cannot be seen. */
export async function watchMove(
  session: OpenSession,
  from: WorkerTag,
  deps: {
    readonly ownerOf: (sessionId: string) => Promise<WorkerTag | undefined>;
    readonly waitMs: number;
    readonly signal: AbortSignal;
  },
): Promise<Move> {
  const { guest, host, sessionId } = session;
  const heard = new Set<number>();
  let said = 0;
  let lastHeardMs = performance.now();
  let pauseMs = 0;
  host.onHeard((text) => {
    const number = Number(/^#(\d+)$/.exec(text)?.[1] ?? Number.NaN);
    if (Number.isNaN(number)) return;
    const nowMs = performance.now();
    pauseMs = Math.max(pauseMs, nowMs - lastHeardMs);
    lastHeardMs = nowMs;
    heard.add(number);
  });
  const before = host.disconnects + guest.disconnects;
  const talk = setInterval(() => {
    said++;
    // What cannot be sent counts as lost.
    guest.say(`#${said}`).catch(() => {});
  }, PERIOD_MS);
  const startMs = performance.now();
  try {
    let to: WorkerTag | undefined;
    while (to === undefined && performance.now() - startMs < deps.waitMs && !deps.signal.aborted) {
      await delay(POLL_MS);
      const owner = await deps.ownerOf(sessionId);
      if (owner !== undefined && owner !== from) to = owner;
    }
    if (to === undefined) return { outcome: "stayed", waitedMs: performance.now() - startMs };
    // Some more, over the new worker.
    await delay(SETTLE_MS);
    clearInterval(talk);
    await delay(SETTLE_MS);
    if (performance.now() - lastHeardMs > 2 * SETTLE_MS) {
      return { outcome: "silent", detail: guest.failures.at(-1) ?? "nothing was heard since" };
    }
    const disconnects = host.disconnects + guest.disconnects - before;
    return { outcome: "moved", from, to, pauseMs, disconnects, said, lost: said - heard.size };
  } finally {
    clearInterval(talk);
  }
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
