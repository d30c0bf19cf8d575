/**
 * Decides the next step of one request: which worker it goes to, and after a failed attempt whether it is tried again, and
 * where. It sends nothing; exchange.ts takes the steps.
 */
import type { Clock } from "../../shared/base/clock.ts";
import type { EdgeError } from "../../shared/base/errors.ts";
import type { WorkerId } from "../../shared/base/ids.ts";
import { countRenamed } from "../../shared/metrics/former-tags.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import { BusyError, MovingError, NoUpstreamError } from "../downstream/responses.ts";
import type { ResponseHead } from "../http1/head.ts";
import type { Decision, Router } from "../routing/router.ts";
import type { Route } from "../routing/session-key.ts";
import type { UpstreamError } from "../upstreams/connection.ts";
import type { Upstream } from "../upstreams/upstream.ts";
import { redirect } from "./misdirected.ts";
import type { RequestBody } from "./request-body.ts";
import {
  afterFailure,
  afterHold,
  beginHold,
  mayLeaveSilent,
  NO_RETRIES,
  type Reached,
  type Retryable,
  type RetryHistory,
} from "./retry-policy.ts";
import type { TrafficCounters } from "./traffic-counters.ts";

/** `orElse`: what the request fails with when no worker is left. `hold`: wait in the retry queue, or fail when it is full. */
export type Step =
  | { readonly step: "choose"; readonly orElse: UpstreamError | BusyError | undefined }
  | { readonly step: "attempt"; readonly upstream: Upstream; readonly isFresh: boolean }
  | { readonly step: "hold"; readonly error: EdgeError }
  | { readonly step: "fail"; readonly error: EdgeError };

export const CHOOSE: Step = { step: "choose", orElse: undefined };

interface PlannerDeps {
  readonly router: Router;
  readonly counters: Counters;
  readonly traffic: Pick<TrafficCounters, "requests" | "routes">;
  readonly clock: Clock;
}

/**
 * The part of the requests that a worker may have, up to which it gets this one. An overloaded worker first refuses what is new, so that
 * the sessions that it has go on; people who sign in wait for up to minutes, and must not take the place of those who return.
 */
function partFor({ kind, key, tag, isSignIn }: Route): number {
  // They continue an engine.io connection. A client that fails in the middle starts over, which costs the worker more.
  if (tag?.rule === "sid") return 2;
  if (kind === "creates") return 0.8;
  if (kind === "joins" || isSignIn) return 0.9;
  return kind === "handshakes" && key !== undefined ? 1.5 : 1;
}

export class AttemptPlanner {
  readonly #route: Route;
  readonly #body: RequestBody;
  readonly #deps: PlannerDeps;
  #decision: Decision | undefined;
  /**
   * Workers that failed this request or said that they are not the one meant. By id: one that comes back as another
   * incarnation meanwhile may fail again, and a request survives only few failures.
   */
  #excluded: ReadonlySet<WorkerId> = NONE;
  #history: RetryHistory = NO_RETRIES;
  /** Whether a record or a worker has named the owner of the session. */
  #hasOwner = false;

  constructor(route: Route, body: RequestBody, deps: PlannerDeps) {
    this.#route = route;
    this.#body = body;
    this.#deps = deps;
  }

  /** `host:port` of the worker that was chosen last. */
  get host(): string | undefined {
    return this.#decision?.upstream?.host;
  }

  /** Whether only the worker that issued its engine.io id can serve it. */
  get isTied(): boolean {
    return this.#route.tag?.rule === "sid";
  }

  // --- where to ---

  /** A promise only when the store has to be asked. */
  choose(): Decision | Promise<Decision> {
    return this.#deps.router.choose(this.#route, this.#excluded);
  }

  afterChoice(decision: Decision, orElse: UpstreamError | BusyError | undefined): Step {
    const { upstream, rule, reason, hasOwner } = decision;
    const { traffic, router } = this.#deps;
    // A busy worker is there: its request does not wait for another one.
    if (upstream === undefined && orElse instanceof BusyError) {
      return { step: "fail", error: orElse };
    }
    if (this.#decision === undefined) traffic.requests.count(rule);
    traffic.routes.count(reason);
    this.#decision = decision;
    if (hasOwner) this.#hasOwner = true;
    if (upstream !== undefined) return { step: "attempt", upstream, isFresh: false };
    return this.#holdOrFail(orElse ?? new NoUpstreamError(router.upstreams.length));
  }

  /** Whether it would be one request too many for the worker. */
  isTooBusy(upstream: Upstream): boolean {
    return upstream.isBusyFor(partFor(this.#route));
  }

  /**
   * Requests do not queue for a worker that has all that it may have. One without a key may go elsewhere; one with a key
   * belongs there, and others must not suffer for it.
   */
  afterBusy(upstream: Upstream): Step {
    const error = new BusyError();
    const { key, tag } = this.#route;
    if (key !== undefined || tag !== undefined || this.#excluded.has(upstream.id)) {
      return { step: "fail", error };
    }
    this.#exclude(upstream);
    return { step: "choose", orElse: error };
  }

  // --- after an attempt ---

  afterFailure(upstream: Upstream, reached: Reached, error: UpstreamError): Step {
    const { history, next } = afterFailure(this.#history, reached, this.#retryable);
    this.#history = history;
    switch (next) {
      case "reconnect":
        this.#deps.counters.count("balancer.retries");
        return { step: "attempt", upstream, isFresh: true };
      case "elsewhere":
        this.#deps.counters.count("balancer.retries");
        this.#exclude(upstream);
        return { step: "choose", orElse: error };
      case "hold":
        return this.#holdOrFail(error);
      case "fail":
        return { step: "fail", error };
    }
  }

  /** For a worker that has the request and responds to none any more. Undefined: go on waiting for it. */
  afterSilence(upstream: Upstream): Step | undefined {
    const { router, counters } = this.#deps;
    if (this.isTied || !mayLeaveSilent(this.#history, this.#retryable)) return undefined;
    const isOther = (other: Upstream): boolean =>
      other !== upstream && router.statusOfWorker(other) === "healthy";
    if (!router.upstreams.some(isOther)) return undefined;
    counters.count("balancer.retries");
    this.#history = { ...this.#history, lost: this.#history.lost + 1 };
    this.#exclude(upstream);
    return CHOOSE;
  }

  /** After a 421. Undefined: the client gets it. */
  afterMisdirected(head: ResponseHead, upstream: Upstream): Step | undefined {
    const redirection = redirect(
      head,
      {
        route: this.#route,
        upstream,
        history: this.#history,
        hasOwner: this.#hasOwner,
        isReplayable: this.#body.isReplayable,
      },
      this.#deps,
    );
    switch (redirection.action) {
      case "pass":
        return undefined;
      case "reroute":
        this.#history = { ...this.#history, hasLeftMisrouted: true };
        this.#exclude(upstream);
        return CHOOSE;
      case "follow":
        return this.#followOwner(redirection.to);
      case "give-up": {
        const { why } = redirection;
        const error = new MovingError(why);
        this.#hasOwner = true;
        // Workers that contradict each other are not tried again; one that is not there may be in a moment.
        const isAway = why === "owner unknown" || why === "owner not reached";
        return isAway ? this.#holdOrFail(error) : { step: "fail", error };
      }
    }
  }

  #followOwner(upstream: Upstream): Step {
    const rule = this.#decision?.rule ?? "none";
    countRenamed(this.#deps.counters, "balancer.routes", "misdirected");
    this.#hasOwner = true;
    this.#history = { ...this.#history, hops: this.#history.hops + 1 };
    this.#decision = { upstream, rule, reason: "misdirected", hasOwner: true };
    return { step: "attempt", upstream, isFresh: false };
  }

  /**
   * For a worker that opens a connection for a session that was seen elsewhere in a higher epoch: it was stopped or cut off
   * and does not know yet. What cannot be sent elsewhere fails, and its client begins again.
   */
  afterOutdated(upstream: Upstream): Step {
    this.#deps.counters.count("balancer.outdated");
    this.#hasOwner = true;
    if (this.isTied || !this.#body.isReplayable) {
      return { step: "fail", error: new MovingError("outdated") };
    }
    this.#exclude(upstream);
    return CHOOSE;
  }

  /** After a wait in the retry queue. */
  afterHold(): Step {
    this.#excluded = NONE;
    this.#history = afterHold(this.#history);
    return CHOOSE;
  }

  /**
   * For a request that no worker has taken: it is tried again a little later while its session has an owner, or while a
   * user signs in, because a client takes any error for the end of that.
   */
  #holdOrFail(error: EdgeError): Step {
    const isWorthIt = this.#hasOwner || this.#route.isSignIn;
    if (!isWorthIt || !this.#body.isReplayable || this.isTied) return { step: "fail", error };
    const { clock, counters } = this.#deps;
    if (this.#history.heldUntilMs === undefined) counters.count("balancer.held");
    const history = beginHold(this.#history, clock.nowMs());
    if (history === undefined) return { step: "fail", error };
    this.#history = history;
    return { step: "hold", error };
  }

  #exclude(upstream: Upstream): void {
    this.#excluded = new Set(this.#excluded).add(upstream.id);
  }

  get #retryable(): Retryable {
    return { isReplayable: this.#body.isReplayable, isRepeatable: this.#route.isRepeatable };
  }
}

/** Most requests exclude no worker, and a set costs more than all that is asked of it. */
const NONE: ReadonlySet<WorkerId> = new Set();
