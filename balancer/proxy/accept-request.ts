/**
 * The first decision about a request: whether the balancer responds itself, or a worker does.
 */
import type { EdgeError } from "../../shared/base/errors.ts";
import type { DrainState } from "../downstream/drain-state.ts";
import type { Client, Exchange } from "../downstream/exchange-contract.ts";
import { healthResponse, MethodNotAllowedError, NoUpstreamError } from "../downstream/responses.ts";
import type { RequestHead } from "../http1/head.ts";
import { findRoute, type Route } from "../routing/session-key.ts";
import type { Refusals } from "./delayed-refusal.ts";
import { type ExchangeDeps, ProxyExchange } from "./exchange.ts";
import { challengeToken, respondToChallenge } from "./late-response.ts";

interface AcceptDeps extends ExchangeDeps {
  readonly drainState: Pick<DrainState, "isAnnounced">;
  /** Whether `/` is a page of our workers; foreign servers of a fixed list have one of their own. */
  readonly isRootOurs: boolean;
  /** Undefined: no limits. */
  readonly limiter: RequestLimiter | undefined;
  readonly refusals: Pick<Refusals, "refuse">;
  /** The response to a challenge of a certificate authority, by its token. Undefined: there are none. Never rejects. */
  readonly httpChallenge: ((token: string) => Promise<string | undefined>) | undefined;
}

interface RequestLimiter {
  /** Why the request is refused; undefined: it may go on. */
  check(request: {
    readonly head: RequestHead;
    readonly route: Route;
    readonly peerAddress: string;
    readonly isHealthCheck: boolean;
  }): EdgeError | undefined;
}

/** Returns the exchange with a worker, which is not started yet; undefined when the response has been sent here. */
export function acceptRequest(
  head: RequestHead,
  client: Client,
  deps: AcceptDeps,
): Exchange | undefined {
  const route = findRoute(head);
  const isHealthCheck = isHealthTarget(head.target);
  const { peerAddress } = client;
  // First: what the balancer responds itself costs too.
  const tooMuch = deps.limiter?.check({ head, route, peerAddress, isHealthCheck });
  if (tooMuch !== undefined) return deps.refusals.refuse(client, tooMuch);
  // TRACE would send a request back as it arrived: with the headers that proxies added and, to a script in a browser, with
  // cookies that it must not read (RFC 9110 §9.3.8).
  if (head.method === "TRACE") {
    client.fail(new MethodNotAllowedError(head.method), undefined);
    return undefined;
  }
  if (isHealthCheck) {
    const status = deps.router.usable > 0 ? "ok" : "no worker";
    client.respond((context) =>
      healthResponse(deps.drainState.isAnnounced ? "leaving" : status, context),
    );
    return undefined;
  }
  const token = deps.httpChallenge && challengeToken(head.target);
  if (token !== undefined) {
    return respondToChallenge(client, async () => deps.httpChallenge?.(token));
  }
  const { router } = deps;
  // At once: trying workers that may not respond would take long and find out no more.
  if (deps.isRootOurs && isRoot(route) && router.usable === 0) {
    client.fail(new NoUpstreamError(router.upstreams.length), undefined);
    return undefined;
  }
  return new ProxyExchange(head, route, client, deps);
}

/** The health check of the public ports; a query is ignored. */
export function isHealthTarget(target: string): boolean {
  return target.startsWith("/ct-health") && HEALTH_TARGET.test(target);
}

const HEALTH_TARGET = /^\/ct-health\/?(?:\?|$)/;

/**
 * Whether it is for the page of the edge itself, for which any worker will do. Load balancers of clouds ask for it until
 * they are given another path.
 */
function isRoot({ key, tag, target }: Route): boolean {
  if (key !== undefined || tag !== undefined) return false;
  return target === "/" || target.startsWith("/?");
}
