/**
 * Limits what one address may ask for, so that one that floods costs the others little. People with a session are often many behind one
 * address, and return after a crash all at once. So what they ask for has limits of its own, far higher, which a stranger behind the
 * same address cannot use up with what strangers do:
 * - requests of open connections of the protocol, by the worker's tag in their `sid`, and handshakes with a room token of this edge:
 *   10 times `requests`. A `sid` can be forged, and a token outlives its session, so there is a limit.
 * - handshakes of each room token: 600 a minute, instead of the address's `handshakes`.
 * - connections from networks where such tokens were seen lately: 20 times `connections`. A connection is there before its request, and
 *   some clients open one for each poll.
 *
 * Programs of this machine are not limited: they may be a proxy or a sidecar, through which everybody comes. Nor are clients whose
 * address a TCP balancer does not know: they would share one bucket.
 */
import type { Clock } from "../../shared/base/clock.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import { networkOf } from "../../shared/net/networks.ts";
import { type Excess, LimitError, type LimitKind } from "../downstream/limit-error.ts";
import { clientAddress, type TrustedProxies } from "../http1/forwarding.ts";
import type { RequestHead } from "../http1/head.ts";
import type { Route } from "../routing/session-key.ts";
import { ReturningNetworks } from "./returning-networks.ts";
import { TokenBuckets } from "./token-buckets.ts";

/** Each of one address and minute; 0: no limit. */
export type Limits = Readonly<Record<LimitKind, number>>;

interface LimitedRequest {
  readonly head: RequestHead;
  readonly route: Route;
  readonly peerAddress: string;
  /** Trusted proxies may ask for the balancer's health as often as they like. */
  readonly isHealthCheck: boolean;
}

export interface Limiter {
  /** Whether a connection from `address` may be served. */
  admits(address: string): boolean;
  /** Undefined: the request may go on. */
  check(request: LimitedRequest): LimitError | undefined;
  close(): void;
}

/** Times `requests`, for people with a session. */
const SESSION_REQUESTS = 10;
/** Times `connections`, for networks with people who have a session. */
const SESSION_CONNECTIONS = 20;
/** Far more than any client makes. */
const HANDSHAKES_PER_TOKEN = 600;

/** Addresses, networks and tokens that are remembered of each kind: about 10 MB. In a flood from more, the first are forgotten. */
const MAX_REMEMBERED = 100_000;
const PRUNE_MS = 30_000;

/** Undefined without any limit. */
export function createLimiter(deps: {
  readonly limits: Limits;
  /** Whether it only counts. */
  readonly isDryRun: boolean;
  readonly trusted: TrustedProxies;
  /** The signature of a room token in the request that this edge has signed for a peer of a session, at any time. */
  readonly roomTokenSignature: (values: RequestHead["values"]) => string | undefined;
  readonly clock: Clock;
  readonly counters: Counters;
}): Limiter | undefined {
  const { limits, trusted, clock, counters } = deps;
  if (Object.values(limits).every((limit) => limit === 0)) return undefined;
  const allBuckets: TokenBuckets[] = [];
  const takeOf = {
    connections: bucketsFor("connections", 1),
    sessionConnections: bucketsFor("connections", SESSION_CONNECTIONS),
    handshakes: bucketsFor("handshakes", 1),
    requests: bucketsFor("requests", 1),
    sessionRequests: bucketsFor("requests", SESSION_REQUESTS),
    logins: bucketsFor("logins", 1),
    creates: bucketsFor("creates", 1),
  };
  const tokens = new TokenBuckets(HANDSHAKES_PER_TOKEN, MAX_REMEMBERED);
  const returning = new ReturningNetworks(MAX_REMEMBERED);
  counters.gauge("balancer.limited_addresses", () =>
    Math.max(...allBuckets.map(({ size }) => size)),
  );
  const pruning = clock.every(PRUNE_MS, () => {
    const nowMs = clock.nowMs();
    for (const one of [...allBuckets, tokens, returning]) one.prune(nowMs);
  });

  type Take = (network: string, nowMs: number) => Excess | undefined;

  function bucketsFor(kind: LimitKind, times: number): Take {
    const perMinute = limits[kind];
    if (perMinute === 0) return () => undefined;
    const buckets = new TokenBuckets(times * perMinute, MAX_REMEMBERED);
    allBuckets.push(buckets);
    return (network, nowMs) => {
      const waitMs = buckets.take(network, nowMs);
      return waitMs === 0 ? undefined : { kind, perMinute, times, whose: "address", waitMs };
    };
  }

  function takeOfToken(signature: string, nowMs: number): Excess | undefined {
    if (limits.handshakes === 0) return undefined;
    const waitMs = tokens.take(signature, nowMs);
    if (waitMs === 0) return undefined;
    const perMinute = HANDSHAKES_PER_TOKEN;
    return { kind: "handshakes", perMinute, times: 1, whose: "room token", waitMs };
  }

  function excessOf({ values }: RequestHead, { kind, tag }: Route, network: string) {
    const nowMs = clock.nowMs();
    if (tag?.rule === "sid") {
      const excess = takeOf.sessionRequests(network, nowMs);
      // A client that only polls shakes hands once, and needs connections all the time.
      if (excess !== undefined || returning.isFresh(network, nowMs)) return excess;
      if (deps.roomTokenSignature(values) !== undefined) returning.add(network, nowMs);
      return undefined;
    }
    const signature = kind === "handshakes" ? deps.roomTokenSignature(values) : undefined;
    if (signature === undefined) {
      const isLimited = kind !== undefined && kind !== "joins";
      const excess = isLimited ? takeOf[kind](network, nowMs) : undefined;
      return excess ?? takeOf.requests(network, nowMs);
    }
    const excess = takeOfToken(signature, nowMs) ?? takeOf.sessionRequests(network, nowMs);
    if (excess === undefined) returning.add(network, nowMs);
    return excess;
  }

  /** Whether it is refused. */
  function refuses({ kind }: Excess): boolean {
    counters.count("balancer.limited", kind);
    return !deps.isDryRun;
  }

  return {
    admits(address) {
      // A proxy's connections carry the requests of many.
      if (isUnlimited(address) || trusted.has(address)) return true;
      const [network, nowMs] = [networkOf(address), clock.nowMs()];
      const isReturning = returning.has(network, nowMs);
      const take = isReturning ? takeOf.sessionConnections : takeOf.connections;
      const excess = take(network, nowMs);
      return excess === undefined || !refuses(excess);
    },
    check({ head, route, peerAddress, isHealthCheck }) {
      const address = trusted.has(peerAddress)
        ? clientAddress(head.fields, peerAddress, trusted)
        : peerAddress;
      if (isUnlimited(address) || (isHealthCheck && trusted.has(address))) return undefined;
      const excess = excessOf(head, route, networkOf(address));
      return excess !== undefined && refuses(excess) ? new LimitError(excess) : undefined;
    },
    close: () => pruning.cancel(),
  };
}

/** In canonical form. Empty: not known. */
function isUnlimited(address: string): boolean {
  return address === "" || address.startsWith("127.") || address === "::1";
}
