/**
 * The story of one HTTP request: choose a worker, send, try again where that is safe, relay the answer as it comes. A
 * request that asks for a WebSocket has the same story, until a worker agrees: then it becomes a tunnel.
 */
import type { Clock, Timer } from "../../shared/base/clock.ts";
import type { EdgeError } from "../../shared/base/errors.ts";
import { isWorkerName, toSessionKey } from "../../shared/base/ids.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import { KEY_HEADER, OWNER_HEADER } from "../../shared/net/edge-headers.ts";
import type { TrustedProxies } from "../http1/forwarding.ts";
import type { Framing } from "../http1/framing.ts";
import {
  type RequestHead,
  type ResponseHead,
  requestLine,
  serializeHead,
  statusLine,
} from "../http1/head.ts";
import {
  interimHeaders,
  requestHeaders,
  responseHeaders,
  switchingHeaders,
} from "../http1/headers.ts";
import { type MovingReason, obstacleToReplay } from "../routing/decision.ts";
import type { Decision, Router } from "../routing/router.ts";
import { findRoute, type Route } from "../routing/session-key.ts";
import type { Connection, Dial, Piece } from "../transport/transport.ts";
import {
  type ResponseHandler,
  type UpstreamConnection,
  UpstreamError,
} from "../upstreams/connection.ts";
import { fieldValue, type Mark, readEpoch, readMark } from "../upstreams/session-marks.ts";
import type { Upstream } from "../upstreams/upstream.ts";
import type { Client, Exchange } from "./downstream.ts";
import type { DrainState } from "./drain-state.ts";
import { HealthExchange, isHealthTarget } from "./health-endpoint.ts";
import { isRefusedMethod, RefusedExchange } from "./refused-exchange.ts";
import { ReplayBuffer } from "./replay-buffer.ts";
import { BusyError, MovingError, NoUpstreamError } from "./responses.ts";
import type { RetryQueue } from "./retry-queue.ts";
import { isAccepted, readWebSocketKey, type Tunnels } from "./tunnel.ts";

/** Longest body that is kept, so that the request can be sent again. */
export const MAX_KEPT_BYTES = 65_536;
/** How often a worker may break a request off before it counts as what the worker died of. */
const MAX_CONNECTION_CLOSED = 2;
/**
 * A session whose owner cannot be reached comes back there or elsewhere within its lease and a little more. Until then
 * its requests are kept here: a client that is refused waits longer and longer before it tries again.
 */
const HOLD_MS = 8000;

export interface ProxyNeeds {
  readonly directory: Router;
  readonly tunnels: Tunnels;
  readonly trusted: TrustedProxies;
  readonly counters: Counters;
  readonly retryQueue: RetryQueue;
  readonly clock: Clock;
  readonly drainState: Readonly<DrainState>;
  /** Whether `/` is a page of our workers; foreign servers of a fixed list have one of their own. */
  readonly isRootOurs: boolean;
}

/** The story of the request with this head. */
export function createExchange(head: RequestHead, client: Client, needs: ProxyNeeds): Exchange {
  if (isRefusedMethod(head.method)) return new RefusedExchange(client);
  return isHealthTarget(head.target)
    ? new HealthExchange(client, needs)
    : new ProxyExchange(head, client, needs);
}

class ProxyExchange implements Exchange, ResponseHandler {
  readonly #head: RequestHead;
  readonly #client: Client;
  readonly #needs: ProxyNeeds;
  readonly #route: Route;
  readonly #webSocketKey: string | undefined;
  readonly #begunMs: number;

  /** Workers that failed this request or said that they are not meant. */
  #excluded: ReadonlySet<Upstream> = NOBODY;
  #decision: Decision | undefined;
  #upstream: Upstream | undefined;
  #dial: Dial | undefined;
  #connection: UpstreamConnection | undefined;

  /** The body so far, to send it again; undefined when it became too long for that. */
  #kept: ReplayBuffer | undefined = new ReplayBuffer();
  #bodyComplete = false;
  /** Whether the client was told to go on with a body that it announced (100). */
  #isContinued = false;

  #hops = 0;
  #chosenAgain = false;
  /** How often a worker took it and broke off before a byte of an answer came. */
  #connectionClosed = 0;
  #retriedBeforeWrite = false;
  /** Whether a record or a worker named the owner of the session. */
  #hasOwner = false;
  #holdUntilMs: number | undefined;
  #holding: Timer | undefined;

  /** Pieces of the answer that were read together are sent together. */
  #outbox: Piece[] = [];
  #answerBegun = false;
  #keepAlive = false;
  #over = false;

  constructor(head: RequestHead, client: Client, needs: ProxyNeeds) {
    this.#head = head;
    this.#client = client;
    this.#needs = needs;
    this.#route = findRoute(head);
    this.#webSocketKey = readWebSocketKey(head);
    this.#begunMs = needs.clock.nowMs();
  }

  start(): void {
    if (this.#isRoot() && this.#needs.directory.usable === 0) {
      this.#fail(new NoUpstreamError(this.#needs.directory.upstreams.length));
      return;
    }
    this.#choose((decision) => {
      this.#needs.counters.count("balancer.requests", decision.rule);
      this.#follow(decision);
    });
  }

  /**
   * Whether it is for the page of the edge itself, for which any worker will do. Load balancers of clouds ask for it until
   * they are told another path, so it says at once what a request would find out by trying workers that may not answer.
   */
  #isRoot(): boolean {
    const { key, tag, target } = this.#route;
    if (!this.#needs.isRootOurs || key !== undefined || tag !== undefined) return false;
    return target === "/" || target.startsWith("/?");
  }

  // --- choose ---

  #choose(then: (decision: Decision) => void): void {
    const chosen = this.#needs.directory.choose(this.#route, this.#excluded);
    if (!(chosen instanceof Promise)) {
      then(chosen);
      return;
    }
    chosen
      .then((decision) => {
        if (!this.#over) then(decision);
      })
      .catch((error: unknown) => this.#fail(error));
  }

  #exclude(upstream: Upstream): void {
    this.#excluded = new Set(this.#excluded).add(upstream);
  }

  #follow(decision: Decision, lastError?: UpstreamError): void {
    this.#decision = decision;
    this.#needs.counters.count("balancer.routes", decision.reason);
    if (decision.hasOwner) this.#hasOwner = true;
    if (decision.upstream !== undefined) this.#attempt(decision.upstream, false);
    else {
      this.#holdOrFail(lastError ?? new NoUpstreamError(this.#needs.directory.upstreams.length));
    }
  }

  // --- send ---

  #attempt(upstream: Upstream, fresh: boolean): void {
    if (this.#route.tag?.rule === "sid" ? upstream.isOverfull : upstream.isFull) {
      this.#avoidFull(upstream);
      return;
    }
    this.#upstream = upstream;
    upstream.inFlight++;
    upstream.requests++;
    this.#dial = upstream.acquire(
      {
        onConnection: (connection) => this.#send(connection, upstream),
        onFailed: (error) => this.onUpstreamFailed(error),
      },
      fresh,
    );
  }

  /**
   * A worker that has all that it may have is not queued for. A request without a key may go elsewhere; one with a key
   * belongs there, and others shall not suffer for it.
   */
  #avoidFull(upstream: Upstream): void {
    const error = new BusyError();
    const { key, tag } = this.#route;
    if (key !== undefined || tag !== undefined || this.#excluded.has(upstream)) {
      this.#fail(error);
      return;
    }
    this.#exclude(upstream);
    this.#choose((decision) => {
      if (decision.upstream === undefined) this.#fail(error);
      else this.#follow(decision);
    });
  }

  #send(connection: UpstreamConnection, upstream: Upstream): void {
    this.#connection = connection;
    connection.start(
      {
        method: this.#head.method,
        keepChunks: this.#head.minor === 1,
        upgrade: this.#webSocketKey !== undefined,
      },
      this,
    );
    const head = this.#requestHead(upstream);
    const kept = this.#kept;
    const hasBody = kept !== undefined && kept.length > 0;
    const more = connection.write(hasBody ? [head, kept.bytes] : [head]);
    if (hasBody && kept.length > MAX_KEPT_BYTES) this.#kept = undefined;
    if (more) this.#client.resumeBody();
    else this.#client.pauseBody();
  }

  #requestHead(upstream: Upstream): string {
    const { key } = this.#route;
    const fields = requestHeaders(this.#head, {
      peerAddress: this.#client.remoteAddress,
      secure: this.#client.secure,
      trusted: this.#needs.trusted,
      requestId: this.#client.requestId,
      workerHost: upstream.host,
      edgeProof: upstream.proof,
      key: key?.rule === "header" || key?.rule === "path" ? key.key : undefined,
      upgrade: this.#webSocketKey !== undefined,
    });
    return serializeHead(requestLine(this.#head.method, this.#route.target), fields);
  }

  onBody(pieces: Piece[]): void {
    this.#keep(pieces);
    if (this.#connection === undefined) {
      // Nowhere to send it yet: it waits, all of it, and the client with it when it is much.
      if ((this.#kept?.length ?? 0) > MAX_KEPT_BYTES) this.#client.pauseBody();
    } else if (!this.#connection.write(pieces)) {
      this.#client.pauseBody();
    }
  }

  #keep(pieces: readonly Piece[]): void {
    if (this.#kept === undefined) return;
    let bytes = this.#kept.length;
    for (const piece of pieces) bytes += piece.length;
    if (bytes > MAX_KEPT_BYTES && this.#connection !== undefined) this.#kept = undefined;
    else this.#kept.append(pieces);
  }

  onBodyEnd(): void {
    this.#bodyComplete = true;
  }

  // --- try again ---

  onUpstreamFailed(error: UpstreamError): void {
    const upstream = this.#upstream;
    const connection = this.#connection;
    this.#leave();
    if (upstream === undefined) return;
    if (this.#answerBegun) {
      this.#over = true;
      this.#client.cut(error, upstream.host);
      return;
    }
    const stale = connection?.isReused === true && !connection.isAnswered;
    if (!stale) upstream.suspect(error);
    if (connection !== undefined && !stale) this.#connectionClosed++;
    if (!this.#mayRetry(connection, stale)) {
      if (this.#mayRepeat(connection)) this.#holdOrFail(error);
      else this.#fail(error);
      return;
    }
    this.#needs.counters.count("balancer.retries");
    // An idle connection that had ended says nothing about its worker.
    if (stale) {
      this.#attempt(upstream, true);
      return;
    }
    this.#exclude(upstream);
    this.#choose((decision) => this.#follow(decision, error));
  }

  onUpstreamSilent(): void {
    const upstream = this.#upstream;
    const { directory, counters } = this.#needs;
    if (upstream === undefined || this.#route.tag?.rule === "sid" || this.#connectionClosed > 0)
      return;
    if (!this.#route.isRepeatable || !this.#mayRepeat(this.#connection)) return;
    const isOther = (other: Upstream): boolean =>
      other !== upstream && directory.statusOfWorker(other) === "healthy";
    if (!directory.upstreams.some(isOther)) return;
    counters.count("balancer.retries");
    this.#connectionClosed++;
    this.#drop();
    this.#exclude(upstream);
    this.#choose((decision) => this.#follow(decision));
  }

  /**
   * At once: once for a worker that could not be reached, once for one that took it and broke off, and for each kept
   * connection that had ended, because a new one follows it. A worker that is killed shows all three within a millisecond.
   */
  #mayRetry(connection: UpstreamConnection | undefined, stale: boolean): boolean {
    if (!this.#mayRepeat(connection)) return false;
    if (connection !== undefined) return stale || this.#connectionClosed === 1;
    if (this.#retriedBeforeWrite) return false;
    this.#retriedBeforeWrite = true;
    return true;
  }

  /** While no byte of an answer came, and when it was never sent or may be sent twice; what workers die of is not. */
  #mayRepeat(connection: UpstreamConnection | undefined): boolean {
    if (this.#kept === undefined) return false;
    if (connection === undefined) return true;
    return (
      !connection.isAnswered &&
      this.#route.isRepeatable &&
      this.#connectionClosed <= MAX_CONNECTION_CLOSED
    );
  }

  // --- wait for the owner ---

  /**
   * For a request that no worker has taken: it is tried again a little later while its session has an owner, or while
   * somebody signs in, because a client takes any error for the end of that.
   */
  #holdOrFail(error: EdgeError): void {
    const { clock, counters, retryQueue } = this.#needs;
    const mayHold =
      (this.#hasOwner || this.#route.isSignIn) &&
      this.#kept !== undefined &&
      this.#route.tag?.rule !== "sid";
    if (mayHold && this.#holdUntilMs === undefined) {
      counters.count("balancer.held");
      this.#holdUntilMs = clock.nowMs() + HOLD_MS;
    }
    if (!mayHold || clock.nowMs() >= (this.#holdUntilMs ?? 0)) {
      this.#fail(error);
      return;
    }
    this.#holding = retryQueue.hold(() => {
      this.#excluded = NOBODY;
      this.#hops = 0;
      this.#chosenAgain = false;
      this.#retriedBeforeWrite = false;
      try {
        this.#choose((decision) => this.#follow(decision, undefined));
      } catch (bug) {
        this.#fail(bug);
      }
    });
    if (this.#holding === undefined) this.#fail(error);
  }

  // --- follow a session to its owner ---

  /**
   * What is done about a 421. True: the request goes on elsewhere or was answered; false: the client gets the 421. A
   * request with an engine.io id is never sent elsewhere: only the worker that issued it knows it.
   */
  #redirect(head: ResponseHead): boolean {
    const { counters, directory } = this.#needs;
    if (this.#route.tag?.rule === "sid") {
      counters.count("balancer.misdirected", "passed");
      return false;
    }
    const owner = fieldValue(head, OWNER_HEADER);
    if (owner === undefined || !isWorkerName(owner)) return this.#chooseAgain();
    this.#hasOwner = true;
    const key = toSessionKey(fieldValue(head, KEY_HEADER) ?? "") ?? this.#route.key?.key;
    const epoch = readEpoch(head);
    if (key !== undefined && epoch !== undefined) directory.learn(key, owner, epoch);
    // The worker judged by another key, the session that this one stands for: what we remember of it was wrong.
    const asked = this.#route.key?.key;
    if (asked !== undefined && asked !== key) directory.forget(asked);

    const target = directory.byId(owner);
    const obstacle = obstacleToReplay({
      status: target === undefined ? undefined : directory.statusOfWorker(target),
      isSender: target === this.#upstream,
      hops: this.#hops,
      isKept: this.#kept !== undefined,
    });
    if (target === undefined || obstacle !== undefined) {
      return this.#giveUp(obstacle ?? "owner unknown");
    }
    counters.count("balancer.misdirected", "replayed");
    // `told`: the name of the version before, for one version.
    counters.count("balancer.routes", "told");
    counters.count("balancer.routes", "misdirected");
    this.#hops++;
    this.#drop();
    this.#decision = {
      upstream: target,
      rule: this.#decision?.rule ?? "none",
      reason: "misdirected",
      hasOwner: true,
    };
    this.#attempt(target, false);
    return true;
  }

  /** A worker without a word about an owner is not the one that we meant (its address was given to another). */
  #chooseAgain(): boolean {
    const upstream = this.#upstream;
    // It may be another life of the one that was meant, and then proves that in answer to a probe.
    upstream?.askSoon();
    if (this.#chosenAgain && this.#hasOwner) return this.#giveUp("owner not reached");
    if (this.#chosenAgain || this.#kept === undefined || upstream === undefined) {
      this.#needs.counters.count("balancer.misdirected", "passed");
      return false;
    }
    this.#needs.counters.count("balancer.misdirected", "not-meant");
    this.#chosenAgain = true;
    this.#drop();
    this.#exclude(upstream);
    this.#choose((decision) => this.#follow(decision));
    return true;
  }

  #giveUp(why: MovingReason): true {
    this.#needs.counters.count("balancer.misdirected", why.replaceAll(" ", "-"));
    this.#drop();
    const error = new MovingError(why);
    // Workers that contradict each other are asked no more; one that is not there may be in a moment.
    if (why === "owner unknown" || why === "owner not reached") this.#holdOrFail(error);
    else this.#fail(error);
    return true;
  }

  // --- relay ---

  onInterim(head: ResponseHead): void {
    // RFC 9110 §15.2: HTTP/1.0 knows no interim answers.
    if (this.#head.minor === 0) return;
    if (head.status === 100) this.#isContinued = true;
    this.#client.sendInterim([
      serializeHead(statusLine(head.status, head.reason), interimHeaders(head)),
    ]);
  }

  onAnswerHead(head: ResponseHead): void {
    const mark = readMark(head);
    if (mark !== undefined && this.#isOutdated(mark)) {
      this.#leaveOutdated();
      return;
    }
    this.#learn(mark);
    if (head.status === 421 && this.#redirect(head)) return;
    this.#needs.counters.count("balancer.answers", statusClass(head.status));
    this.#time("balancer.first_byte_ms");
    const framing = this.#clientFraming(head.framing);
    this.#keepAlive =
      this.#head.keepAlive &&
      framing.kind !== "until-close" &&
      !this.#client.isLastAnswer &&
      (this.#bodyComplete || !this.#refusesBody(head.status));
    this.#answerBegun = true;
    const fields = responseHeaders(head, {
      requestId: this.#client.requestId,
      framing,
      close: !this.#keepAlive,
      minor: this.#head.minor,
    });
    const text = serializeHead(statusLine(head.status, head.reason), fields);
    this.#client.beginAnswer(head.status, text.length);
    this.#outbox.push(text);
  }

  /**
   * Whether a response that begins before the request's body has arrived ends the connection. RFC 9112 §9.6 wants that
   * announced, so that the client sends a request that it has pipelined again. After a refusal nobody wants the rest of the
   * body, and a client that was never told to continue may send it or leave it out (RFC 9110 §10.1.1): what comes next could
   * be either. In all other cases both sides stream at the same time, and the rest is read.
   */
  #refusesBody(status: number): boolean {
    if (status >= 300) return true;
    return !this.#isContinued && this.#head.fields.some(({ lower }) => lower === "expect");
  }

  /** Polls are left out: they wait until there is something to tell. */
  #time(histogram: "balancer.first_byte_ms" | "balancer.latency_ms"): void {
    const { isRepeatable, tag } = this.#route;
    if (tag?.rule === "sid" || (isRepeatable && this.#head.method === "POST")) return;
    const { clock, counters } = this.#needs;
    counters.observe(histogram, clock.nowMs() - this.#begunMs);
  }

  /** HTTP/1.0 knows no chunks (RFC 9112 §7.1): the end of the connection is the end of the body. */
  #clientFraming(framing: Framing): Framing {
    return framing.kind === "chunked" && this.#head.minor === 0 ? { kind: "until-close" } : framing;
  }

  onAnswerBody(pieces: Piece[]): void {
    for (const piece of pieces) this.#outbox.push(piece);
  }

  onAnswerFlush(): void {
    if (this.#outbox.length === 0) return;
    const pieces = this.#outbox;
    this.#outbox = [];
    if (!this.#client.send(pieces)) this.#connection?.pause();
  }

  onAnswerEnd(): void {
    const upstream = this.#upstream;
    const connection = this.#connection;
    this.#leave();
    this.#over = true;
    if (connection !== undefined) {
      // The rest of a body that nobody waits for would be read as the next request.
      if (this.#bodyComplete) upstream?.release(connection);
      else connection.abort();
    }
    this.#time("balancer.latency_ms");
    this.#client.finish(this.#keepAlive);
  }

  // --- become a tunnel ---

  onSwitch(head: ResponseHead, connection: Connection, rest: Buffer): void {
    const upstream = this.#upstream;
    const key = this.#webSocketKey;
    if (upstream === undefined || key === undefined || !isAccepted(head, key)) {
      this.#leave();
      connection.handler = CLOSED;
      connection.reset();
      this.#fail(new UpstreamError("invalid-response"));
      return;
    }
    const mark = readMark(head);
    if (mark !== undefined && this.#isOutdated(mark)) {
      connection.handler = CLOSED;
      connection.reset();
      this.#leaveOutdated();
      return;
    }
    this.#learn(mark);
    this.#leave();
    this.#over = true;
    this.#needs.counters.count("balancer.upgrades");
    this.#needs.counters.count("balancer.answers", "1xx");
    // Once the client is detached, it has no request.
    const { requestId } = this.#client;
    this.#needs.tunnels.open({
      client: this.#client.detach(),
      worker: connection,
      upstream,
      requestId,
      answer: serializeHead(
        statusLine(head.status, head.reason),
        switchingHeaders(head, requestId),
      ),
      rest,
      session: mark,
    });
  }

  // --- marks ---

  /**
   * Whether the worker opens a connection for a session that was seen elsewhere in a higher epoch: it was stopped or cut
   * off and does not know yet. A client must not go back to it.
   */
  #isOutdated(mark: Mark): boolean {
    const upstream = this.#upstream;
    if (upstream === undefined) return false;
    return this.#needs.directory.isOutdated(mark.id, upstream, mark.epoch);
  }

  /** Chooses anew without that worker; what cannot be sent elsewhere fails, and its client begins anew. */
  #leaveOutdated(): void {
    const upstream = this.#upstream;
    this.#needs.counters.count("balancer.outdated");
    this.#hasOwner = true;
    this.#drop();
    if (upstream === undefined || this.#route.tag?.rule === "sid" || this.#kept === undefined) {
      this.#fail(new MovingError("outdated"));
      return;
    }
    this.#exclude(upstream);
    this.#choose((decision) => this.#follow(decision));
  }

  #learn(mark: Mark | undefined): void {
    const { directory } = this.#needs;
    const upstream = this.#upstream;
    if (mark !== undefined && upstream !== undefined) {
      directory.learn(mark.id, upstream.id, mark.epoch);
    }
    // The key of a create stands for the new session from now on.
    const key = this.#route.key?.key;
    if (this.#route.isCreate && key !== undefined) directory.forget(key);
  }

  // --- the client's side of events ---

  onDrain(): void {
    this.#connection?.resume();
  }

  measureBacklog(done: (bytes: number) => void): void {
    if (this.#connection === undefined) done(0);
    else this.#connection.measureBacklog(done);
  }

  onUpstreamDrain(): void {
    this.#client.resumeBody();
  }

  onAbort(): void {
    this.#over = true;
    this.#holding?.cancel();
    this.#drop();
  }

  onTimeout(): void {
    const error = new UpstreamError("timeout");
    this.#upstream?.suspect(error);
    this.#holding?.cancel();
    this.#drop();
    this.#fail(error);
  }

  // --- ends ---

  /** Forgets the worker's side, which has ended by itself. */
  #leave(): void {
    if (this.#upstream !== undefined) {
      this.#upstream.inFlight--;
      this.#upstream.requests--;
    }
    this.#upstream = undefined;
    this.#dial = undefined;
    this.#connection = undefined;
  }

  /** Gives up the worker's side. */
  #drop(): void {
    this.#dial?.cancel();
    this.#connection?.abort();
    this.#leave();
  }

  #fail(error: unknown): void {
    if (this.#over) return;
    this.#over = true;
    const isOfWorker = error instanceof UpstreamError || error instanceof BusyError;
    this.#client.fail(error, isOfWorker ? this.#decision?.upstream?.host : undefined);
  }
}

const STATUS_CLASSES = ["1xx", "2xx", "3xx", "4xx", "5xx"] as const;

function statusClass(status: number): (typeof STATUS_CLASSES)[number] {
  return STATUS_CLASSES[Math.floor(status / 100) - 1] ?? "5xx";
}

/** Most requests exclude nobody, and a set costs more than all that is asked of it. */
const NOBODY: ReadonlySet<Upstream> = new Set();

/** Events of a connection that was given up. */
const CLOSED = { onData() {}, onEnd() {}, onDrain() {}, onClose() {} };
