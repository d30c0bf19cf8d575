/**
 * Whether a request is sent again after a failed attempt, and where. Pure.
 *
 * - At once: to another worker, once after one that could not be reached and once after one that took it and failed; and to
 *   the same worker over a new connection when an idle one turns out to have ended, or the link broke that carried it. A
 *   worker that is killed shows all of them within a millisecond.
 * - Later, by the retry queue: while its session has an owner, or while a user signs in, because clients take any error for
 *   the end of either.
 * - Never: when a byte of a response came, when its body is not kept, when it was sent and may not be repeated, or when it
 *   may be what its workers die of.
 */

/** What earlier attempts of one request came to. */
export interface RetryHistory {
  /** Workers that took it and failed before a byte of a response came. */
  readonly lost: number;
  /** Whether it has moved on from a worker that could not be reached. */
  readonly hasLeftUnreachable: boolean;
  /** Times a 421 was followed to the worker that it named. */
  readonly hops: number;
  /** Whether it has moved on from a worker that said that it is not the one meant. */
  readonly hasLeftMisrouted: boolean;
  /** Monotonic time at which it leaves the retry queue for good; undefined if it never was in it. */
  readonly heldUntilMs: number | undefined;
}

export const NO_RETRIES: RetryHistory = {
  lost: 0,
  hasLeftUnreachable: false,
  hops: 0,
  hasLeftMisrouted: false,
  heldUntilMs: undefined,
};

/** How often a worker may fail with a request before it counts as what the worker died of. */
const MAX_LOST = 2;
/**
 * A session whose owner cannot be reached comes back there or elsewhere within its lease and a little more. Until then its
 * requests wait here: a client that gets an error backs off longer and longer.
 */
const HOLD_MS = 8000;

/** What the policy must know of a request. */
export interface Retryable {
  /** Whether all of its body so far is kept. */
  readonly isReplayable: boolean;
  /** Whether it may be sent twice. */
  readonly isRepeatable: boolean;
}

/**
 * How far an attempt came. `stale`: a reused connection ended before a byte of a response, which tells nothing about its
 * worker. `refused`: its worker accepted no stream over the link. `link-lost`: it was sent, and the link broke that carried it and all others. `response`: some bytes of a response
 * came, but not its head.
 */
export type Reached = "nothing" | "stale" | "refused" | "sent" | "link-lost" | "response";

export interface Verdict {
  readonly history: RetryHistory;
  readonly next: "reconnect" | "elsewhere" | "hold" | "fail";
}

export function afterFailure(
  before: RetryHistory,
  reached: Reached,
  { isReplayable, isRepeatable }: Retryable,
): Verdict {
  const isLost = reached === "sent" || reached === "link-lost" || reached === "response";
  const history = isLost ? { ...before, lost: before.lost + 1 } : before;
  if (!isReplayable) return { history, next: "fail" };
  // A connection of its own tells whether the worker is there.
  if (reached === "refused") return { history, next: "reconnect" };
  if (reached === "nothing") {
    if (before.hasLeftUnreachable) return { history, next: "hold" };
    return { history: { ...history, hasLeftUnreachable: true }, next: "elsewhere" };
  }
  if (reached === "response" || !isRepeatable || history.lost > MAX_LOST) {
    return { history, next: "fail" };
  }
  if (reached === "stale" || (reached === "link-lost" && history.lost === 1)) {
    return { history, next: "reconnect" };
  }
  return { history, next: history.lost === 1 ? "elsewhere" : "hold" };
}

/** Whether a request need not wait for a worker that took it and responds to none any more, if there is another one. */
export function mayLeaveSilent(history: RetryHistory, request: Retryable): boolean {
  return history.lost === 0 && request.isReplayable && request.isRepeatable;
}

/** The history of a request that waits in the retry queue; undefined when it has waited long enough. */
export function beginHold(history: RetryHistory, nowMs: number): RetryHistory | undefined {
  const heldUntilMs = history.heldUntilMs ?? nowMs + HOLD_MS;
  return nowMs < heldUntilMs ? { ...history, heldUntilMs } : undefined;
}

/** After a wait all workers are tried again; a request that workers may die of remains one. */
export function afterHold({ lost, heldUntilMs }: RetryHistory): RetryHistory {
  return { ...NO_RETRIES, lost, heldUntilMs };
}
