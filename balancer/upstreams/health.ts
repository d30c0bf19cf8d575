/**
 * A worker's health as a state machine without clock or sockets: `nextHealth` computes the state after an event,
 * `statusOfWorker` what the state means for routing, `isPanic` when probes are ignored.
 *
 *     healthy ──failed──▶ unhealthy ──taken-over, if it refused──▶ down
 *      ▲                      │                                    ▲ │
 *      └───────answered───────┴───────lease-expired (from any)─────┘ │
 *      └────────────────────────────answered (not after lease-expired)
 *
 * An unhealthy worker gets no new requests; its tunnels stay, because they may still work. The tunnels of a worker that is
 * down are closed, and requests that wait for it are given up.
 */

/**
 * Why a worker failed. `refused`: its machine refused the connection, so no process listens. `unreachable`: no connection
 * was established. `no-response`: connected, but no response in time. `connection-closed`: the connection ended early.
 * `invalid-response`: not HTTP. `probe-failed`: an error response to a probe. `misrouted`: it says that another worker was
 * meant. `lease-expired`: the store, which is reachable and settled, no longer lists it.
 */
export type FailureReason =
  | "refused"
  | "unreachable"
  | "no-response"
  | "connection-closed"
  | "invalid-response"
  | "probe-failed"
  | "misrouted"
  | "lease-expired";

/** What found the failure: a client's request, the balancer's own probe, or the member list of the store. */
export type FailureSource = "request" | "probe" | "members";

export interface Failure {
  readonly reason: FailureReason;
  readonly by: FailureSource;
  /** Monotonic. */
  readonly atMs: number;
}

export type Health =
  /** `lastFailure`: an earlier one, for operators. */
  | { readonly state: "healthy"; readonly lastFailure: Failure | undefined }
  | {
      readonly state: "unhealthy";
      readonly lastFailure: Failure;
      readonly sinceMs: number;
      /** Only probes without a response failed: this balancer may be at fault. */
      readonly onlyProbes: boolean;
      /** It has refused a connection since it became unhealthy. */
      readonly refused: boolean;
    }
  | {
      readonly state: "down";
      readonly lastFailure: Failure;
      readonly sinceMs: number;
      readonly why: "lease-expired" | "taken-over";
    };

export type HealthEvent =
  | { readonly event: "failed"; readonly failure: Failure }
  /** It responded to a probe that was sent at `askedMs`. */
  | { readonly event: "answered"; readonly askedMs: number }
  /** One of its sessions was seen at another worker in a higher epoch. */
  | { readonly event: "taken-over"; readonly atMs: number }
  | { readonly event: "lease-expired"; readonly atMs: number };

export const HEALTHY: Health = { state: "healthy", lastFailure: undefined };

/** The state after `event`. The same object when nothing changes. */
export function nextHealth(before: Health, event: HealthEvent): Health {
  switch (event.event) {
    case "failed":
      return afterFailure(before, event.failure);
    case "answered":
      return afterResponse(before, event.askedMs);
    case "taken-over":
      // Without a refused connection the session was handed over, or the lease decides soon.
      if (before.state !== "unhealthy" || !before.refused) return before;
      return {
        state: "down",
        lastFailure: before.lastFailure,
        sinceMs: event.atMs,
        why: "taken-over",
      };
    case "lease-expired":
      if (before.state === "down" && before.why === "lease-expired") return before;
      return {
        state: "down",
        lastFailure: { reason: "lease-expired", by: "members", atMs: event.atMs },
        sinceMs: event.atMs,
        why: "lease-expired",
      };
  }
}

/**
 * Probe failures that may be the fault of this balancer or its network. A refused connection or an error response comes
 * from the worker itself.
 */
const AMBIGUOUS: ReadonlySet<FailureReason> = new Set(["no-response", "unreachable"]);

function afterFailure(before: Health, failure: Failure): Health {
  const isAmbiguous = failure.by === "probe" && AMBIGUOUS.has(failure.reason);
  const isRefusal = failure.reason === "refused";
  switch (before.state) {
    case "healthy":
      return {
        state: "unhealthy",
        lastFailure: failure,
        sinceMs: failure.atMs,
        onlyProbes: isAmbiguous,
        refused: isRefusal,
      };
    case "unhealthy":
      return {
        ...before,
        lastFailure: failure,
        onlyProbes: before.onlyProbes && isAmbiguous,
        refused: before.refused || isRefusal,
      };
    case "down":
      return before.why === "lease-expired" ? before : { ...before, lastFailure: failure };
  }
}

/**
 * A response to a probe that was sent before the last failure proves nothing about the time after it. A response does not
 * make up for an expired lease either: a worker that registers again is another incarnation.
 */
function afterResponse(before: Health, askedMs: number): Health {
  if (before.state === "healthy" || askedMs < before.lastFailure.atMs) return before;
  if (before.state === "down" && before.why === "lease-expired") return before;
  return { state: "healthy", lastFailure: before.lastFailure };
}

// --- what it means for routing ---

/**
 * `healthy`: gets new requests and those of its own sessions · `unhealthy`: none new, those of its own sessions only when no
 * other worker can take them · `down`: none.
 */
export type WorkerStatus = "healthy" | "unhealthy" | "down";

/** `panic`: see `isPanic`. */
export function statusOfWorker(health: Health, panic: boolean): WorkerStatus {
  return panic && health.state === "unhealthy" && health.onlyProbes ? "healthy" : health.state;
}

/**
 * Whether probes are to be ignored: more than half of the workers, all with valid leases, fail only this balancer's probes.
 * Then the fault is in this balancer or its network, and avoiding those workers would reject everyone. Not for workers
 * without leases: nothing else shows that they are alive.
 */
export function isPanic(leased: Iterable<Health>): boolean {
  let all = 0;
  let doubted = 0;
  for (const health of leased) {
    all++;
    if (health.state === "unhealthy" && health.onlyProbes) doubted++;
  }
  return doubted * 2 > all;
}
