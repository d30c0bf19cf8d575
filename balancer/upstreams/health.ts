/**
 * What a balancer thinks of a worker's health, as a state machine without clock or sockets: `nextHealth` says what an
 * event makes of a state, `statusOfWorker` what a state means for routing, `isPanic` when probes are not believed.
 *
 *     up ──failed──▶ suspect ──taken-over, when it was refused──▶ dead
 *      ▲                │                                        ▲ │
 *      └────answered────┴──────────lease-gone (from any)─────────┘ │
 *      └───────────────────────────answered (not after lease-gone)─┘
 *
 * A suspect worker gets nothing new; its tunnels stay, because they may well work. Those of a dead one are closed, and
 * what waits for its answer is given up.
 */

/**
 * What spoke against a worker. `refused`: its machine says that nobody listens there, which only it can say.
 * `unreachable`: no connection came about. `no-answer`: connected, and nothing came in time. `broken-off`: the connection
 * ended too early. `garbage`: no HTTP. `unwell`: it answers a probe with an error. `not-meant`: it says that another
 * worker was meant. `lease-gone`: the store, which is reached and settled, knows it no more.
 */
export type FailureReason =
  | "refused"
  | "unreachable"
  | "no-answer"
  | "broken-off"
  | "garbage"
  | "unwell"
  | "not-meant"
  | "lease-gone";

/** Who found it out: a client's request, the balancer's own probe, or the members as the store has them. */
export type FailureSource = "request" | "probe" | "members";

export interface Failure {
  readonly reason: FailureReason;
  readonly by: FailureSource;
  /** Monotonic. */
  readonly atMs: number;
}

export type Health =
  /** `lastFailure`: of a time before, for people. */
  | { readonly state: "up"; readonly lastFailure: Failure | undefined }
  | {
      readonly state: "suspect";
      readonly lastFailure: Failure;
      readonly sinceMs: number;
      /** Nothing but probes without an answer speaks against it: that may be our own fault. */
      readonly onlyProbes: boolean;
      /** Since it became suspect it refused a connection. */
      readonly refused: boolean;
    }
  | {
      readonly state: "dead";
      readonly lastFailure: Failure;
      readonly sinceMs: number;
      readonly why: "lease-gone" | "taken-over";
    };

export type HealthEvent =
  | { readonly event: "failed"; readonly failure: Failure }
  /** It answered a probe that was sent at `askedMs`. */
  | { readonly event: "answered"; readonly askedMs: number }
  /** One of its sessions was seen at another worker in a higher epoch. */
  | { readonly event: "taken-over"; readonly atMs: number }
  | { readonly event: "lease-gone"; readonly atMs: number };

export const HEALTHY: Health = { state: "up", lastFailure: undefined };

/** The state after `event`. The same object when nothing changes. */
export function nextHealth(before: Health, event: HealthEvent): Health {
  switch (event.event) {
    case "failed":
      return afterFailure(before, event.failure);
    case "answered":
      return afterAnswer(before, event.askedMs);
    case "taken-over":
      // Without a refusal it was handed over, or its lease decides soon.
      if (before.state !== "suspect" || !before.refused) return before;
      return {
        state: "dead",
        lastFailure: before.lastFailure,
        sinceMs: event.atMs,
        why: "taken-over",
      };
    case "lease-gone":
      if (before.state === "dead" && before.why === "lease-gone") return before;
      return {
        state: "dead",
        lastFailure: { reason: "lease-gone", by: "members", atMs: event.atMs },
        sinceMs: event.atMs,
        why: "lease-gone",
      };
  }
}

/** What a probe may meet when it is this balancer that is ill or cut off. A refusal or an error is the worker's own word. */
const DOUBTS: ReadonlySet<FailureReason> = new Set(["no-answer", "unreachable"]);

function afterFailure(before: Health, failure: Failure): Health {
  const isOurDoubt = failure.by === "probe" && DOUBTS.has(failure.reason);
  const isRefusal = failure.reason === "refused";
  switch (before.state) {
    case "up":
      return {
        state: "suspect",
        lastFailure: failure,
        sinceMs: failure.atMs,
        onlyProbes: isOurDoubt,
        refused: isRefusal,
      };
    case "suspect":
      return {
        ...before,
        lastFailure: failure,
        onlyProbes: before.onlyProbes && isOurDoubt,
        refused: before.refused || isRefusal,
      };
    case "dead":
      return before.why === "lease-gone" ? before : { ...before, lastFailure: failure };
  }
}

/**
 * An answer to what was asked before the last failure says nothing about after it. A lease that is gone is not made up
 * for by an answer: when the worker announces itself again, that is another life of it.
 */
function afterAnswer(before: Health, askedMs: number): Health {
  if (before.state === "up" || askedMs < before.lastFailure.atMs) return before;
  if (before.state === "dead" && before.why === "lease-gone") return before;
  return { state: "up", lastFailure: before.lastFailure };
}

// --- what it means ---

/** `well`: gets what is new and what is its own · `suspect`: nothing new, its own when nobody else is there · `dead`: nothing. */
export type WorkerStatus = "well" | "suspect" | "dead";

/** `panic`: see `isPanic`. */
export function statusOfWorker(health: Health, panic: boolean): WorkerStatus {
  switch (health.state) {
    case "up":
      return "well";
    case "suspect":
      return panic && health.onlyProbes ? "well" : "suspect";
    case "dead":
      return "dead";
  }
}

/**
 * Whether probes are not to be believed: more than half of the workers, all of whose leases live, fail by nothing but this
 * balancer's probes. Then it is this balancer that is ill or cut off, and leaving them would turn everybody away. Not to
 * be asked for workers without leases: there is nothing that speaks for them.
 */
export function isPanic(leased: Iterable<Health>): boolean {
  let all = 0;
  let doubted = 0;
  for (const health of leased) {
    all++;
    if (health.state === "suspect" && health.onlyProbes) doubted++;
  }
  return doubted * 2 > all;
}
