/**
 * The story of one request that a worker serves: choose a worker, send the request, try again where that is safe, relay the
 * response as it comes. `#run` is the loop of its attempts; events bring it to the next step:
 *
 *     choosing ──► connecting ──► sent ──► responding ──► over
 *      ▲   ▲          │            │
 *      │   └──────────┴────────────┴── failure, 421 or silence: tried again at once (attempt-planner.ts),
 *      └── held ◄─────────────────────  or a little later, when no worker can take it now (retry-queue.ts)
 *
 * A request for a WebSocket has the same story until a worker agrees: then it becomes a tunnel. Every state may end early:
 * the client goes away, the worker is too slow, or nothing more can be tried.
 */
import type { Clock, Timer } from "../../shared/base/clock.ts";
import { LinkLostError, StreamRefusedError } from "../../shared/link/stream.ts";
import type { Counters, Histogram } from "../../shared/metrics/metrics.ts";
import type { Client, Exchange } from "../downstream/exchange-contract.ts";
import { BusyError } from "../downstream/responses.ts";
import type { TrustedProxies } from "../http1/forwarding.ts";
import type { RequestHead, ResponseHead } from "../http1/head.ts";
import type { Router } from "../routing/router.ts";
import type { Route } from "../routing/session-key.ts";
import { type Connection, type Dial, discard, type Piece } from "../transport/transport.ts";
import {
  type ResponseHandler,
  type UpstreamConnection,
  UpstreamError,
} from "../upstreams/connection.ts";
import { fitsLink } from "../upstreams/link-policy.ts";
import { type Mark, readMark } from "../upstreams/session-marks.ts";
import type { Upstream } from "../upstreams/upstream.ts";
import { AttemptPlanner, CHOOSE, type Step } from "./attempt-planner.ts";
import { forwardedHead, interimHead, isResumable, relayedHead, switchingHead } from "./heads.ts";
import { RequestBody } from "./request-body.ts";
import type { Reached } from "./retry-policy.ts";
import type { RetryQueue } from "./retry-queue.ts";
import { statusClass, type TrafficCounters } from "./traffic-counters.ts";
import type { Tunnels } from "./tunnels.ts";
import { hasBody, isAccepted, readWebSocketKey } from "./websocket-handshake.ts";

export interface ExchangeDeps {
  readonly router: Router;
  readonly tunnels: Pick<Tunnels, "open">;
  readonly trusted: TrustedProxies;
  readonly counters: Counters;
  readonly traffic: TrafficCounters;
  readonly retryQueue: RetryQueue;
  readonly clock: Clock;
}

type State =
  | { readonly state: "choosing" }
  | { readonly state: "connecting"; readonly upstream: Upstream; readonly dial: Dial }
  | {
      readonly state: "sent" | "responding";
      readonly upstream: Upstream;
      readonly connection: UpstreamConnection;
    }
  | { readonly state: "held"; readonly timer: Timer }
  | { readonly state: "over" };

type StepTo<Kind extends Step["step"]> = Extract<Step, { readonly step: Kind }>;

const CHOOSING: State = { state: "choosing" };
const OVER: State = { state: "over" };

export class ProxyExchange implements Exchange, ResponseHandler {
  readonly #head: RequestHead;
  readonly #client: Client;
  readonly #deps: ExchangeDeps;
  readonly #route: Route;
  readonly #webSocketKey: string | undefined;
  readonly #mayUseLink: boolean;
  readonly #body: RequestBody;
  readonly #planner: AttemptPlanner;
  readonly #begunMs: number;
  #state: State = CHOOSING;
  /** Whether the client was told to go on with a body that it announced (100). */
  #isContinued = false;

  constructor(head: RequestHead, route: Route, client: Client, deps: ExchangeDeps) {
    this.#head = head;
    this.#client = client;
    this.#deps = deps;
    this.#route = route;
    this.#webSocketKey = readWebSocketKey(head);
    this.#mayUseLink = fitsLink(route.target, head.framing);
    this.#body = hasBody(head) ? new RequestBody() : RequestBody.NONE;
    this.#planner = new AttemptPlanner(route, this.#body, deps);
    this.#begunMs = deps.clock.nowMs();
  }

  start(): void {
    this.#run(CHOOSE);
  }

  /** The loop of the attempts. It ends when an event must come first, or the request is over. */
  #run(first: Step): void {
    for (let step: Step | undefined = first; step !== undefined; ) {
      switch (step.step) {
        case "choose":
          step = this.#choose(step);
          break;
        case "attempt":
          step = this.#attempt(step);
          break;
        case "hold":
          step = this.#hold(step);
          break;
        case "fail":
          this.#fail(step.error);
          return;
      }
    }
  }

  #choose({ orElse }: StepTo<"choose">): Step | undefined {
    this.#state = CHOOSING;
    const chosen = this.#planner.choose();
    if (!(chosen instanceof Promise)) return this.#planner.afterChoice(chosen, orElse);
    chosen
      .then((decision) => {
        if (this.#state === CHOOSING) this.#run(this.#planner.afterChoice(decision, orElse));
      })
      .catch((error: unknown) => this.#fail(error));
    return undefined;
  }

  #attempt({ upstream, isFresh }: StepTo<"attempt">): Step | undefined {
    if (this.#planner.isTooBusy(upstream)) return this.#planner.afterBusy(upstream);
    upstream.inFlight++;
    upstream.requests++;
    const idle = isFresh ? undefined : upstream.takeIdle(this.#mayUseLink);
    if (idle !== undefined) {
      this.#send(upstream, idle);
      return undefined;
    }
    // A fresh one may follow a link that broke, and the others of its worker break together.
    const dial = upstream.dial(this, this.#mayUseLink && !isFresh);
    this.#state = { state: "connecting", upstream, dial };
    return undefined;
  }

  #hold({ error }: StepTo<"hold">): Step | undefined {
    const timer = this.#deps.retryQueue.hold(() => this.#tryAgain());
    if (timer === undefined) return { step: "fail", error };
    this.#state = { state: "held", timer };
    return undefined;
  }

  #tryAgain(): void {
    try {
      this.#run(this.#planner.afterHold());
    } catch (bug) {
      this.#fail(bug);
    }
  }

  // --- sending ---

  onConnected(connection: UpstreamConnection): void {
    if (this.#state.state === "connecting") this.#send(this.#state.upstream, connection);
  }

  #send(upstream: Upstream, connection: UpstreamConnection): void {
    this.#state = { state: "sent", upstream, connection };
    const isUpgrade = this.#webSocketKey !== undefined;
    const { method, minor } = this.#head;
    connection.start({ method, keepChunks: minor === 1, upgrade: isUpgrade }, this);
    const head = forwardedHead(this.#head, {
      client: this.#client,
      route: this.#route,
      upstream,
      trusted: this.#deps.trusted,
      isUpgrade,
      isResumable: isUpgrade && connection.isStream,
    });
    const { bytes } = this.#body;
    const hasRoom = connection.write(bytes.length > 0 ? [head, bytes] : [head]);
    this.#body.onSent();
    if (hasRoom) this.#client.resumeBody();
    else this.#client.pauseBody();
  }

  onBody(chunks: readonly Piece[], isEnd: boolean): void {
    const connection = this.#connection;
    if (isEnd) this.#body.isComplete = true;
    if (chunks.length === 0) return;
    this.#body.append(chunks, connection !== undefined);
    // Without a connection all of it waits, and the client with it when it is much.
    const hasRoom = connection === undefined ? !this.#body.isTooLong : connection.write(chunks);
    if (!hasRoom) this.#client.pauseBody();
  }

  onUpstreamDrain(): void {
    this.#client.resumeBody();
  }

  measureBacklog(done: (bytes: number) => void): void {
    const connection = this.#connection;
    if (connection === undefined) done(0);
    else connection.measureBacklog(done);
  }

  // --- failed attempts ---

  onUpstreamFailed(error: UpstreamError): void {
    const state = this.#state;
    if (!("upstream" in state)) return;
    const { upstream } = state;
    this.#endAttempt();
    if (state.state === "responding") {
      this.#state = OVER;
      this.#client.fail(error, upstream.host);
      return;
    }
    const reached = state.state === "sent" ? reachedBy(state.connection, error) : "nothing";
    if (tellsOfWorker(reached)) upstream.reportFailure(error);
    this.#run(this.#planner.afterFailure(upstream, reached, error));
  }

  onUpstreamSilent(): void {
    const state = this.#state;
    if (state.state !== "sent" || state.connection.hasResponse) return;
    const next = this.#planner.afterSilence(state.upstream);
    if (next !== undefined) this.#moveOn(next);
  }

  // --- relaying the response ---

  onResponseHead(head: ResponseHead): void {
    const state = this.#state;
    if (state.state !== "sent") return;
    if (head.status < 200) {
      this.#relayInterim(head);
      return;
    }
    const { upstream, connection } = state;
    const mark = readMark(head);
    if (mark !== undefined && this.#isOutdated(mark, upstream)) {
      this.#moveOn(this.#planner.afterOutdated(upstream));
      return;
    }
    this.#learn(mark, upstream);
    const next = head.status === 421 ? this.#planner.afterMisdirected(head, upstream) : undefined;
    if (next !== undefined) {
      this.#moveOn(next);
      return;
    }
    this.#state = { state: "responding", upstream, connection };
    this.#deps.traffic.answers.count(statusClass(head.status));
    this.#time(this.#deps.traffic.firstByteMs);
    const { text, keepAlive } = relayedHead(head, {
      client: this.#client,
      request: this.#head,
      isBodyComplete: this.#body.isComplete,
      isContinued: this.#isContinued,
    });
    this.#client.beginResponse(head.status, text, keepAlive);
  }

  #relayInterim(head: ResponseHead): void {
    // RFC 9110 §15.2: HTTP/1.0 has no interim responses.
    if (this.#head.minor === 0) return;
    if (head.status === 100) this.#isContinued = true;
    this.#client.sendInterim(interimHead(head));
  }

  onResponseBody(chunks: readonly Piece[], isEnd: boolean): void {
    const state = this.#state;
    if (state.state !== "responding") return;
    const { upstream, connection } = state;
    const hasRoom = this.#client.send(chunks);
    if (!isEnd) {
      if (!hasRoom) connection.pause();
      return;
    }
    this.#endAttempt();
    this.#state = OVER;
    // The rest of a body that is no longer wanted would be read as the next request.
    if (this.#body.isComplete) upstream.release(connection);
    else connection.abort();
    this.#time(this.#deps.traffic.latencyMs);
    this.#client.finish();
  }

  onDrain(): void {
    this.#connection?.resume();
  }

  onSwitch(head: ResponseHead, worker: Connection, rest: Buffer): void {
    const state = this.#state;
    const key = this.#webSocketKey;
    if (state.state !== "sent" || key === undefined || !isAccepted(head, key)) {
      this.#endAttempt();
      discard(worker);
      this.#fail(new UpstreamError("invalid-response"));
      return;
    }
    const { upstream, connection } = state;
    const mark = readMark(head);
    if (mark !== undefined && this.#isOutdated(mark, upstream)) {
      discard(worker);
      this.#moveOn(this.#planner.afterOutdated(upstream));
      return;
    }
    this.#learn(mark, upstream);
    this.#endAttempt();
    this.#state = OVER;
    this.#deps.counters.count("balancer.upgrades");
    this.#deps.traffic.answers.count("1xx");
    // Now: after `detach` the client has no request.
    const { requestId, forwarding } = this.#client;
    this.#deps.tunnels.open({
      detach: () => this.#client.detach(),
      forwarding,
      worker,
      upstream,
      requestId,
      head: switchingHead(head, requestId),
      rest,
      session: mark,
      isResumable: connection.isStream && isResumable(head),
    });
  }

  #isOutdated({ id, epoch }: Mark, upstream: Upstream): boolean {
    return this.#deps.router.isOutdated(id, upstream, epoch);
  }

  #learn(mark: Mark | undefined, upstream: Upstream): void {
    const { router } = this.#deps;
    if (mark !== undefined) router.learn(mark.id, upstream.id, mark.epoch);
    // The key of a create stands for the new session from now on.
    const key = this.#route.key?.key;
    if (this.#route.isCreate && key !== undefined) router.forget(key);
  }

  /** Polls are left out: they wait until there is something to report. */
  #time(histogram: Histogram): void {
    if (this.#planner.isTied || (this.#route.isRepeatable && this.#head.method === "POST")) return;
    histogram.add(this.#deps.clock.nowMs() - this.#begunMs);
  }

  // --- ends ---

  onAbort(): void {
    this.#dropAttempt();
    this.#state = OVER;
  }

  onTimeout(): void {
    const error = new UpstreamError("timeout");
    if ("upstream" in this.#state) this.#state.upstream.reportFailure(error);
    this.#dropAttempt();
    this.#fail(error);
  }

  get #connection(): UpstreamConnection | undefined {
    return "connection" in this.#state ? this.#state.connection : undefined;
  }

  /** The worker's side has ended by itself. */
  #endAttempt(): void {
    const state = this.#state;
    if (!("upstream" in state)) return;
    state.upstream.inFlight--;
    state.upstream.requests--;
    this.#state = CHOOSING;
  }

  /** Ends the worker's side, or the wait for one. */
  #dropAttempt(): void {
    const state = this.#state;
    switch (state.state) {
      case "connecting":
        state.dial.cancel();
        break;
      case "sent":
      case "responding":
        state.connection.abort();
        break;
      case "held":
        state.timer.cancel();
        break;
      case "choosing":
      case "over":
        break;
    }
    this.#endAttempt();
  }

  /** Leaves a worker that has the request. */
  #moveOn(next: Step): void {
    this.#dropAttempt();
    this.#run(next);
  }

  #fail(error: unknown): void {
    if (this.#state === OVER) return;
    this.#state = OVER;
    const isOfWorker = error instanceof UpstreamError || error instanceof BusyError;
    this.#client.fail(error, isOfWorker ? this.#planner.host : undefined);
  }
}

/** How far an attempt over this connection came when it failed before the head of a response. */
function reachedBy(connection: UpstreamConnection, { cause }: UpstreamError): Reached {
  if (connection.hasResponse) return "response";
  if (cause instanceof StreamRefusedError) return "refused";
  if (cause instanceof LinkLostError) return "link-lost";
  return connection.isReused ? "stale" : "sent";
}

/** Whether a failed attempt is a sign that the worker itself has failed. Otherwise the next attempt tells. */
function tellsOfWorker(reached: Reached): boolean {
  return reached !== "stale" && reached !== "refused" && reached !== "link-lost";
}
